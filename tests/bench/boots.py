# SPDX-License-Identifier: MIT
"""Many boots, one after the other, each of which must be right: hello's output to the letter and its exit code, every tenth
time images/web with one request served and an orderly end. `-n` says how many; every fourth is on another machine type
than the default.

What a boot that failed said is kept, with its command line, in build/bench/boots. FLOE_QEMU chooses another QEMU."""

from __future__ import annotations

import shlex
import shutil
import statistics
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from floe.bench import unixport
from floe.errors import VmError
from floe.qemu.commandline import MACHINES
from floe.vm.vm import Vm
from tests.bench.common import ROOT, WEB, Options, Report, build, floe_vm, say

_DEADLINE_S = 60.0
_WEB_EVERY = 10
_OTHER_EVERY = 4  # a BIOS takes long under a KVM without VT-x or SVM
_TOLD_EVERY = 100
_HELLO = "hello, world\n"
_PAGE = "robots.txt"
_FOLDER = unixport.BENCH / "boots"


class _Wrong(Exception):
    """A boot that is not as it must be."""


def _end(vm: Vm) -> None:
    code = vm.wait(deadline_s=_DEADLINE_S)
    if code:
        raise _Wrong(f"exit code {code}")
    if vm.resets:
        raise _Wrong(f"{vm.resets} resets")


def _hello(vm: Vm) -> float:
    """Milliseconds until the VM has ended, which it does by itself."""
    _end(vm)
    took = (time.monotonic() - vm.started_at) * 1000
    said = vm.console_text.replace("\r\n", "\n")
    if said != _HELLO:
        raise _Wrong(f"it said {said!r}")
    return took


def _web(vm: Vm) -> float:
    """Milliseconds until one request was answered."""
    if vm.expect_exact("serving on port", timeout=_DEADLINE_S):
        raise _Wrong("it does not serve")
    with urllib.request.urlopen(f"http://127.0.0.1:{vm.ports[80]}/{_PAGE}", timeout=_DEADLINE_S) as answer:
        body = answer.read()
    took = (time.monotonic() - vm.started_at) * 1000
    if body != (WEB / "data" / _PAGE).read_bytes():
        raise _Wrong(f"it served {body[:200]!r}")
    vm.stop()
    _end(vm)
    return took


def _boot(number: int, elves: dict[str, Path], accel: str, machine: str) -> tuple[str, float]:
    """Which image, and how long it took. Raises _Wrong, and what a VM, a wait and a request raise."""
    with ExitStack() as stack:
        name = "web" if number % _WEB_EVERY == _WEB_EVERY - 1 else "hello"
        vm: Vm | None = None
        try:
            ports = [80] if name == "web" else []
            memory = "32M" if name == "web" else "8M"
            vm = stack.enter_context(floe_vm(elves[name], accel=accel, machine=machine, memory=memory, ports=ports))
            return name, (_web if name == "web" else _hello)(vm)
        except Exception as e:
            _keep(f"{accel}-{number}", e, vm)
            raise


def _keep(name: str, problem: Exception, vm: Vm | None) -> None:
    evidence = getattr(problem, "evidence", "")
    lines = [f"{type(problem).__name__}: {problem}", evidence]
    if vm is not None:
        lines += [f"command: {shlex.join(vm.argv)}", f"outcome: {vm.outcome}", "console:", vm.console_text]
        lines += ["hypervisor:", vm.messages.text]
    (_FOLDER / f"{name}.txt").write_text("\n".join(lines))


def _machine(number: int) -> str:
    turn, rest = divmod(number, _OTHER_EVERY)
    return MACHINES[0] if rest < _OTHER_EVERY - 1 else MACHINES[1 + turn % (len(MACHINES) - 1)]


def _many(count: int, accel: str) -> Report:
    elves = {"hello": build(ROOT / "images" / "hello"), "web": build(WEB)}
    times: dict[str, list[float]] = {name: [] for name in elves}
    machines: Counter[str] = Counter()
    failures: list[str] = []
    for number in range(count):
        machine = _machine(number)
        machines[machine] += 1
        try:
            name, took = _boot(number, elves, accel, machine)
            times[name].append(took)
        except (_Wrong, VmError, OSError) as e:
            failures.append(f"{number} ({machine}): {type(e).__name__}: {e}")
            say(f"  boot {failures[-1]}")
        if number % _TOLD_EVERY == _TOLD_EVERY - 1:
            say(f"  {accel}: {number + 1} boots, {len(failures)} failures")
    report: Report = {"boots": count, "machines": dict(machines), "failures": len(failures), "which": failures}
    for name, key in (("hello", "hello_to_end_ms"), ("web", "web_to_answer_ms")):
        if len(times[name]) > 1:
            report[key] = {
                "median": round(statistics.median(times[name]), 1),
                "p99": round(statistics.quantiles(times[name], n=100)[98], 1),
                "max": round(max(times[name]), 1),
            }
    return report


def bench(options: Options) -> Report:
    """On each accelerator. Failed where one boot was not right."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    report: Report = {accel: _many(20 if options.quick else options.boots, accel) for accel in options.accels}
    failures = sum(report[accel]["failures"] for accel in options.accels)
    return report | ({"failed": f"{failures} boots, kept in {_FOLDER}"} if failures else {})
