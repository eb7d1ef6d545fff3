# SPDX-License-Identifier: MIT
"""Hours of mixed load on four VMs at once (soakset.py, soakload.py): each minute one sample, at the end whether memory and
latency are flat. What a minute met goes to build/bench/soak.jsonl as soon as it is known.

Memory is what counts, and its slope: so many bytes an hour, whatever the size of the VM, beside what one sample more or
less may differ by. 530 bytes that each swap kept were 159 KB an hour; a byte at every thirtieth of 500 requests a second
is 60. Latency may grow by half of its median; other work on the machine makes it unclear before that. The begin
is left out, while tables and caches grow to their size: 20 minutes of two hours."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from floe.bench import unixport
from floe.errors import VmError
from tests.bench.common import Options, Report, say, usable_accels
from tests.bench.soakload import Load
from tests.bench.soakset import Set, running
from tests.bench.trend import trend

_MINUTE_S = 60.0
_LOAD_S = 48
_WARM_S = 20 * 60.0
_WARM_SHARE = 1 / 6  # of a run that is shorter than two hours
_LATENCY_SHARE = 0.5
# By a sample's key: how much growth is none, by the hour and at any length of a run. A heap that is allocated anew
# differs by an object that a word on the stack keeps; RAM is taken in areas; a hypervisor has pages, and QEMU's own heap.
_BOUNDS = {
    "ram_free": (64 << 10, 64 << 10),
    "gc_used": (16 << 10, 4 << 10),
    "c_used": (16 << 10, 4 << 10),
    "rss": (256 << 10, 128 << 10),
}
_MEMORY = {
    "ram_free": "RAM taken of the guest",
    "gc_used": "Python heap used",
    "c_used": "C memory used",
    "rss": "RSS of the hypervisor",
}
_BAD_SHOWN = 20
_LEAST = 10  # samples


def _sample(vms: Set, load: Load, start: float, seconds: int) -> Report:
    cpu = sum(server.cpu_s() for server in vms.servers)
    results = load.run(seconds)
    busy = sum(server.cpu_s() for server in vms.servers) - cpu
    for server in vms.servers:
        if "PANIC" in server.log() or "Traceback" in server.log():
            raise VmError(f"{server.name} is not well", evidence=server.log()[-2000:])
    return {
        "at_s": round(time.monotonic() - start, 1),
        "load": {kind: asdict(result) for kind, result in results.items()},
        "memory": vms.memory(),
        "cpu_share": round(busy / seconds, 3),
    }


def rows(samples: list[Report]) -> dict[str, tuple[list[float], float]]:
    """By name: values, of which more is worse, and how much growth is none."""
    found: dict[str, tuple[list[float], float]] = {}
    hours = (samples[-1]["at_s"] - samples[0]["at_s"]) / 3600
    for name in samples[0]["memory"]:
        for key, (by_the_hour, at_any) in _BOUNDS.items():
            sign = -1 if key == "ram_free" else 1
            found[f"{name}: {_MEMORY[key]}"] = (
                [sign * s["memory"][name][key] for s in samples],
                by_the_hour * hours + at_any,
            )
    for kind in samples[0]["load"]:
        for key in ("p50_ms", "p99_ms"):
            values = [s["load"][kind][key] for s in samples]
            found[f"{kind}: {key}"] = (
                values,
                _LATENCY_SHARE * sorted(values)[len(values) // 2],
            )
    return found


def judged(samples: list[Report]) -> list[Report]:
    """Those after the warm part."""
    first, last = samples[0]["at_s"], samples[-1]["at_s"]
    begin = first + min(_WARM_S, (last - first) * _WARM_SHARE)
    return [s for s in samples if s["at_s"] >= begin]


def verdicts(samples: list[Report]) -> Report:
    """What each row did from the first to the last sample after the warm part."""
    warm = judged(samples)
    times = [s["at_s"] for s in warm]
    hours = (times[-1] - times[0]) / 3600
    report: Report = {}
    for name, (values, tolerance) in rows(warm).items():
        found = trend(times, values)
        report[name] = {
            "median": abs(round(found.median, 3)),
            "growth": round(found.growth, 3),
            "interval_95": [round(found.low, 3), round(found.high, 3)],
            "by_the_hour": round(found.growth / hours, 3),
            "tolerance": round(tolerance, 3),
            "verdict": found.verdict(tolerance),
        }
    return report


def summary(samples: list[Report]) -> Report:
    """Raises ValueError for too few samples."""
    counts: dict[str, Any] = {}
    for kind in samples[0]["load"]:
        results = [s["load"][kind] for s in samples]
        errors = [f"{s['at_s']:.0f} s: {e}" for s in samples for e in s["load"][kind]["errors"]]
        counts[kind] = {
            "requests": sum(r["count"] for r in results),
            "errors": len(errors),
            "which": errors[:_BAD_SHOWN],
        }
    trends = verdicts(samples)
    return {
        "samples": len(samples),
        "hours": round(samples[-1]["at_s"] / 3600, 2),
        "cpu_share": round(sum(s["cpu_share"] for s in samples) / len(samples), 3),
        "requests": counts,
        "trends": trends,
        "verdict": {
            word: sum(row["verdict"] == word for row in trends.values()) for word in ("flat", "unclear", "rises")
        },
        "flat_memory": all(row["verdict"] == "flat" for name, row in trends.items() if "_ms" not in name),
    }


def bench(options: Options) -> Report:
    """On the first accelerator. Failed where a request failed, or memory is not flat."""
    accel = (options.accels or usable_accels())[0]
    minute, seconds, count = _MINUTE_S, _LOAD_S, max(_LEAST, round(options.hours * 60))
    if options.quick:
        minute, seconds, count = 6.0, 4, _LEAST
    file = unixport.BENCH / "soak.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    samples: list[Report] = []
    ended: VmError | None = None
    with (
        tempfile.TemporaryDirectory(prefix="floe-soak.") as folder,
        running(Path(folder), accel) as vms,
        file.open("w") as out,
    ):
        load, start = Load(vms), time.monotonic()
        try:
            for number in range(count):
                samples.append(_sample(vms, load, start, seconds))
                print(json.dumps(samples[-1]), file=out, flush=True)
                bad = {kind: told["errors"] for kind, told in samples[-1]["load"].items() if told["errors"]}
                say(f"  sample {number + 1}/{count}" + (f": {bad}" if bad else ""))
                time.sleep(max(0.0, start + (number + 1) * minute - time.monotonic()))
        except VmError as e:  # what was measured before is worth its time
            if len(samples) < _LEAST:
                raise
            ended = e
    report: Report = {"accel": accel, **summary(samples)}
    failed = {kind: told["errors"] for kind, told in report["requests"].items() if told["errors"]}
    if failed or not report["flat_memory"]:
        report["failed"] = f"errors: {failed}, memory flat: {report['flat_memory']}"
    if ended is not None:
        report |= {"failed": ended.message, "evidence": ended.evidence}
    return report
