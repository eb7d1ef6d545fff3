# SPDX-License-Identifier: MIT
"""Packets from card to card: a VM of ours as a router with rules, beside the Linux microVM with nftables and the same.

Each has two taps, in two network namespaces: a source and a sink. In both, what is established passes, then what comes
from the source's side, and leaves behind the router's own address; then again with 1,000 rules more, behind the one for
what is established, where a flow's first packet alone comes to them, and before it, where each does. Frames are of 64
bytes; a rate is loss-free if no more than one frame of 1,000 is lost, once in two tries.
Latency is from send() to the stamp of the sink's kernel, less what a veth pair takes; for all systems at half of what
the slowest TCG one forwards without loss in its worst round, so that none has a queue because the machine is slower in
another round. A part that fails says so in the report, and what was measured before is there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial

from floe.bench.linux import MACHINE, kernel, router
from floe.errors import FloeError, NotFound, VmError
from tests.bench.common import GUESTS, Options, Report, alternate, build, say, spread
from tests.bench.routers import WAIT_S, Rules, Way, check_rules, direct, load, nft_rules, ours, theirs

# name: rules more that refuse, and whether behind the one for what is established
RULES = {"few rules": (0, False), "1,000 rules behind": (1000, True), "1,000 rules before": (1000, False)}
GOALS = {"per_s": 1.5, "tcp_1": 1.0, "tcp_4": 1.0, "added_p99_us": 0.5}
_FIRST, _STEP, _MOST = 2000, 2.0, 1_500_000  # frames a second that are offered
_NEAR = 0.05  # how near the highest loss-free rate is found
_LOST = 0.001
_STALLED = 0.7  # of a run less arrives: the router cannot do more, or this machine stood still
_TRIES = 3
_ASIDE = 0.1  # how far the rate of a latency may be from what was asked
_MANY = 10_000  # flows that have to find room
_OURS_KIB = (4096, 5120, 6144, 7168, 8192, 10240, 12288, 16384, 24576)
_THEIRS_MIB = (48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 256)


def _share(run: Report) -> float:
    return float(run["arrived"] / run["offered"])


def _is_whole(run: Report) -> bool:
    return _share(run) >= 1 - _LOST


def rates(offer: Callable[[float], Report]) -> Report:
    """The most that arrives of any rate, the highest rate that loses nothing, and what arrives of twice the most.

    offer(rate) is a run of load()."""
    most = 0.0

    def tried(rate: float) -> Report:
        """The first of two runs that loses nothing, or the better one: this machine does other things, too. One more
        where both look as if it had stood still."""
        nonlocal most
        best: Report = {"arrived": 0, "offered": 1}
        for number in range(_TRIES):
            run = offer(rate)
            most = max(most, run["arrived_per_s"])
            best = max(best, run, key=_share)
            if _is_whole(run) or (number and _share(best) >= _STALLED):
                break
        return best

    rate, good = float(_FIRST), 0.0
    while rate < _MOST:
        run = tried(rate)
        if _is_whole(run):
            good = rate
        if _share(run) < _STALLED:
            break
        rate *= _STEP
    bad = good * _STEP if good else rate
    while bad - good > bad * _NEAR:
        between = (good + bad) / 2
        good, bad = (between, bad) if _is_whole(tried(between)) else (good, between)
    return {"per_s": most, "loss_free_per_s": good, "overload_per_s": offer(2 * most)["arrived_per_s"]}


def _iperf3(path: Way, streams: int, seconds: int) -> float:
    """Mbit/s of bulk TCP that arrive."""
    argv = path.left.argv("iperf3", "-J", "-c", "10.2.0.2", "-t", seconds, "-P", streams)
    end = time.monotonic() + WAIT_S
    while True:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + WAIT_S, check=False)
        said = json.loads(done.stdout or "{}")
        if "end" in said and "error" not in said:
            return float(said["end"]["sum_received"]["bits_per_second"] / 1e6)
        if time.monotonic() > end:
            raise VmError("iperf3 measured nothing", evidence=str(said.get("error")))
        time.sleep(0.2)


def _bulk(path: Way, seconds: int) -> Report:
    with path.right.running("iperf3", "-s"):
        return {"tcp_1": _iperf3(path, 1, seconds), "tcp_4": _iperf3(path, 4, seconds)}


def _running(stack: ExitStack, options: Options, rules: Rules, kvm: bool) -> dict[str, Way]:
    """Linux under TCG is the last."""
    systems: dict[str, AbstractContextManager[Way]] = {"veth": direct(0)}
    for number, accel in enumerate(options.accels, 1):
        systems[f"floe {accel} microvm"] = ours(number, accel, rules)
    systems[f"floe tcg {MACHINE}"] = ours(7, "tcg", rules, machine=MACHINE)
    if kvm:
        systems[f"linux kvm {MACHINE}"] = theirs(8, "kvm", rules)
    systems[f"linux tcg {MACHINE}"] = theirs(9, "tcg", rules)
    paths = {name: stack.enter_context(made) for name, made in systems.items()}
    for path in list(paths.values())[1:] if rules[0] else ():
        check_rules(path, rules[0])
    return paths


def timed(path: Way, rate: float, seconds: float) -> Report:
    """Latency at a rate, with the rate that it came to. A run at another one is not taken: this machine did other things.

    Raises VmError."""
    for _ in range(_TRIES):
        run = load(path, rate, seconds, "time")
        if abs(run["offered_per_s"] - rate) <= rate * _ASIDE and "p50_us" in run:
            return run
    raise VmError(f"no latency at {rate:.0f} frames a second", evidence=str(run))


def _add(report: Report, runs: dict[str, list[Report]], more: dict[str, list[Report]]) -> None:
    """Figures of more rounds' runs, beside those that are there."""
    for name, values in runs.items():
        for run, found in zip(values, more[name], strict=True):
            run.update(found)
        report[name] = {key: spread([run[key] for run in values], 1) for key in values[0]}
    report["ratios"] = ratios(runs)


def _with_rules(options: Options, rules: Rules, kvm: bool, report: Report) -> None:
    """All figures with so many rules more, in the report as they come."""
    rounds, seconds = (1, 0.8) if options.quick else (3, 1.0)
    report["ratios"] = {}
    with ExitStack() as stack:
        paths = _running(stack, options, rules, kvm)
        routers = dict(list(paths.items())[1:])
        fast = alternate(
            rounds, {name: partial(rates, partial(load, path, seconds=seconds)) for name, path in routers.items()}
        )
        runs: dict[str, list[Report]] = {name: [{} for _ in range(rounds)] for name in routers}
        _add(report, runs, fast)
        _add(report, runs, alternate(rounds, {n: partial(_bulk, w, options.seconds(4)) for n, w in routers.items()}))
        slow = [run["loss_free_per_s"] for name, values in fast.items() if " tcg " in name for run in values]
        rate = report["latency_at_per_s"] = max(round(min(slow) / 2), 100)
        late = alternate(rounds, {n: partial(timed, path, rate, options.seconds(4)) for n, path in paths.items()})
    straight = late["veth"]
    report["veth"] = {key: spread([run[key] for run in straight], 1) for key in ("p50_us", "p99_us")}
    _add(report, runs, {name: [added(*pair) for pair in zip(late[name], straight, strict=True)] for name in runs})


def added(run: Report, straight: Report) -> Report:
    """What a router adds to the latency, and at which rate it was measured."""
    return {
        "added_p50_us": run["p50_us"] - straight["p50_us"],
        "added_p99_us": run["p99_us"] - straight["p99_us"],
        "latency_at_per_s": run["offered_per_s"],
    }


def ratios(runs: dict[str, list[Report]]) -> Report:
    """Ours to Linux with the same accelerator, round by round, each beside what it should be; of what was measured, and
    of rounds in which Linux came to more than nothing."""
    out: Report = {}
    for name, values in runs.items():
        accel = name.split()[1]
        linux = f"linux {accel} {MACHINE}"
        if name == linux or linux not in runs:
            continue
        found = out[f"{name} : {linux}"] = {}
        for key, goal in (*GOALS.items(), ("loss_free_per_s", GOALS["per_s"])):
            pairs = [(a[key], b[key]) for a, b in zip(values, runs[linux], strict=True) if b.get(key, 0) > 0]
            if pairs:
                found[key] = {"goal": f"{'<=' if key.endswith('us') else '>='} {goal}",
                              **spread([a / b for a, b in pairs], 2)}  # fmt: skip
    return out


def _holds(make: Callable[[], AbstractContextManager[Way]]) -> bool:
    """Whether so many flows find room."""
    try:
        with make() as path:
            load(path, 1500, 2.2 * _MANY / 1500, "fill", _MANY)  # each twice, and within the time that one lives
            return int(path.ask("flows")) >= _MANY
    except FloeError:
        return False


def memory(options: Options) -> Report:
    """The least memory that holds 10,000 flows, in steps, and the bytes of what is started."""
    report: Report = {}
    few = RULES["few rules"]
    tries: dict[str, tuple[tuple[int, ...], int, Callable[[int], AbstractContextManager[Way]]]] = {
        "floe": (_OURS_KIB, 1, lambda n: ours(1, options.accels[0], few, memory=f"{n}K", flows=_MANY + 240)),
        "linux": (_THEIRS_MIB, 1024, lambda n: theirs(1, "tcg", few, memory=f"{n}M")),
    }
    for name, (sizes, unit, make) in tries.items():
        for size in sizes:
            say(f"packet: {_MANY} flows in {size * unit} KiB, {name}")
            if _holds(partial(make, size)):
                report[name] = {"least_kib": size * unit}
                break
        else:
            raise VmError(f"{name} holds {_MANY} flows with none of {sizes}")
    root = router("router", nft_rules(few), 65536)
    report["floe"]["elf_bytes"] = build(GUESTS / "guest_router.py").stat().st_size
    report["linux"]["kernel_and_initrd_bytes"] = kernel()[0].stat().st_size + root.stat().st_size
    return report


def _while_it_computes(way: Way) -> Report:
    """Latency of 1,000 frames a second through a VM whose Python does nothing, and one whose Python has much to do."""
    report = {"idle": load(way, 1000, 3, "time")}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(way.ask, "compute")
        report["computing"] = load(way, 1000, 3, "time")
        asked.result()
    return {f"{what}_{key}": run[key] for what, run in report.items() for key in ("p50_us", "p99_us", "most_us")}


def computing(options: Options) -> Report:
    """The same with each accelerator, in turns; frames that were lost are in none of it."""
    with ExitStack() as stack:
        few = RULES["few rules"]
        ways = {a: stack.enter_context(ours(n, a, few)) for n, a in enumerate(options.accels)}
        rounds = 1 if options.quick else 3
        runs = alternate(rounds, {f"floe {a} microvm": partial(_while_it_computes, way) for a, way in ways.items()})
    return {name: {key: spread([run[key] for run in values], 1) for key in values[0]} for name, values in runs.items()}


def _starts_with_kvm(options: Options) -> bool:
    if "kvm" not in options.accels:
        return False
    try:
        with theirs(7, "kvm", (0, False)):
            return True
    except VmError:
        return False


def bench(options: Options) -> Report:
    """In turns. Ratios under KVM are there only where Linux starts under this machine's."""
    if os.geteuid() != 0:
        raise NotFound("network namespaces need root", hint="sudo")
    for tool in ("nft", "iperf3"):
        if shutil.which(tool) is None:
            raise NotFound(f"{tool} is not installed", hint="make setup-tests")
    kvm = _starts_with_kvm(options)
    with direct(0) as path:
        source = load(path, 10 * _MOST, 1.0)["offered_per_s"]
    report: Report = {
        "linux_under_kvm": "starts" if kvm else "does not start on this machine",
        "vhost": os.access("/dev/vhost-net", os.R_OK | os.W_OK),
        "source_per_s": round(source),
    }
    parts: dict[str, Callable[[Report], None]] = {
        name: partial(_with_rules, options, rules, kvm)
        for name, rules in (list(RULES.items())[::2] if options.quick else RULES.items())
    }
    parts["latency while Python computes"] = lambda out: out.update(computing(options))
    if not options.quick:
        parts["memory"] = lambda out: out.update(memory(options))
    return measured(report, parts)


def measured(report: Report, parts: dict[str, Callable[[Report], None]]) -> Report:
    """The report with each part; `failed` in a part says why it ends there, and in the report which did."""
    for name, part in parts.items():
        say(f"packet: {name}")
        report[name] = {}
        try:
            part(report[name])
        except (FloeError, AssertionError, OSError, ValueError, subprocess.SubprocessError) as exc:
            evidence = getattr(exc, "evidence", "")
            report[name]["failed"] = f"{type(exc).__name__}: {exc}" + (f"\n{evidence}" if evidence else "")
            report.setdefault("failed", []).append(name)
            say(f"packet: {name} failed: {exc}")
    return report
