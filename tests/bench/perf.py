# SPDX-License-Identifier: MIT
"""Upstream's tests/perf_bench by its own run-perfbench.py, both unmodified: in a dev VM over a pty, and in the unix port
of the same sources. They take turns, round by round."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from floe.build import port_archive
from floe.errors import VmError
from floe.vm.vm import Vm
from tests.bench import unixport
from tests.bench.common import GUESTS, Options, Report, alternate, build, expect, floe_vm, say
from tests.support.terminal import Pty

_TESTS = port_archive.MICROPYTHON / "tests"
# Upstream's parameters for a PC: about its MHz, and the KiB of heap that a benchmark may take.
_N, _M = 1000, 1000
_DEADLINE_S = 300
_LINE = re.compile(r"^perf_bench/(\w+)\.py: (.*)$", re.MULTILINE)
_FIGURES = re.compile(r"[\d.]+ [\d.]+ ([\d.]+) [\d.]+")


@dataclass
class Run:
    """What run-perfbench.py said of each benchmark, once."""

    scores: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> Run:
    """Raises VmError if it named no benchmark."""
    run = Run()
    for name, said in _LINE.findall(text):
        if figures := _FIGURES.fullmatch(said):
            run.scores[name] = float(figures[1])
        elif said.startswith("SKIP"):
            run.skipped.append(name)
        else:
            run.errors[name] = said
    if not (run.scores or run.skipped or run.errors):
        raise VmError("run-perfbench.py measured nothing", evidence=text[-2000:])
    return run


def _ratios(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, float]:
    return {name: score / theirs[name] for name, score in ours.items() if score and theirs.get(name)}


def _mean(ratios: dict[str, float]) -> float | None:
    return round(statistics.geometric_mean(ratios.values()), 3) if ratios else None


def summary(runs: dict[str, list[Run]]) -> Report:
    """Of each system the best scores (higher is better), which other work disturbed least; of each but the first their ratios to the first's, and
    the geometric mean of these, over what both have measured: of the best, and of each round."""
    report: Report = {}
    first, base = next(iter(runs.items()))
    for system, done in runs.items():
        names = sorted({name for run in done for name in run.scores})
        scores = {name: max(run.scores[name] for run in done if name in run.scores) for name in names}
        report[system] = {
            "scores": scores,
            "skipped": sorted({name for run in done for name in run.skipped}),
            "errors": {name: said for run in done for name, said in run.errors.items()},
        }
        if system != first:
            ratios = _ratios(scores, report[first]["scores"])
            report[system] |= {
                "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
                "geometric_mean": _mean(ratios),
                "of_rounds": [_mean(_ratios(a.scores, b.scores)) for a, b in zip(done, base, strict=True)],
            }
    return report


def _argv(*options: str) -> list[str]:
    return [sys.executable, "run-perfbench.py", "-a", "1", *options, str(_N), str(_M)]


def _environment() -> dict[str, str]:
    return os.environ | {"MICROPY_MICROPYTHON": str(unixport.BINARY), "MICROPY_CPYTHON3": sys.executable}


def _as_process() -> Run:
    done = subprocess.run(
        _argv(), cwd=_TESTS, env=_environment(), capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )
    return parse(done.stdout + done.stderr)


async def _over(vm: Vm, argv: Sequence[str]) -> str:
    """Run what uses the VM's terminal; ends early if the VM does."""
    runner = await asyncio.create_subprocess_exec(
        *argv, cwd=_TESTS, env=_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert runner.stdout is not None
    reading = asyncio.ensure_future(runner.stdout.read())
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while not reading.done() and vm.outcome is None:
                await asyncio.wait([reading], timeout=0.5)
    except TimeoutError:
        say(f"  run-perfbench.py did not end within {_DEADLINE_S} s")
    finally:
        if not reading.done():
            runner.kill()
        text = (await reading).decode(errors="replace")
        await runner.wait()
    return text


def _in_vm(accel: str) -> Run:
    elf = build(GUESTS / "guest_device.py", profile="dev")
    with floe_vm(elf, accel=accel, cards=()) as vm:
        expect(vm, ">>> ")
        terminal = Pty(vm)
        try:
            return parse(vm.loop.run_until_complete(_over(vm, _argv("-p", "-d", terminal.name))))
        finally:
            terminal.close()


def bench(options: Options) -> Report:
    """Upstream's scores and their ratios: 1 is as fast as the process, 2 twice as fast."""
    unixport.build()
    systems: dict[str, Callable[[], Any]] = {"process": _as_process}
    systems |= {accel: partial(_in_vm, accel) for accel in options.accels}
    report: Report = {"n": _N, "m": _M, "rounds": options.rounds}
    report |= summary(alternate(options.rounds, systems))
    for system in systems:
        for name, said in report[system]["errors"].items():
            say(f"  {system}: {name}: {said}")
    return report
