# SPDX-License-Identifier: MIT
"""Upstream's tests/perf_bench by its own run-perfbench.py, both unmodified: in a dev VM over a pty, and in the unix
port of the same sources."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from floe.bench import guests, unixport
from floe.bench.experiment import Reading, Turn
from floe.bench.terminal import Pty
from floe.build import port_archive
from floe.errors import VmError
from floe.vm.vm import Vm

TESTS = port_archive.MICROPYTHON / "tests"
# Upstream's parameters for a PC: about its MHz, and the KiB of heap that a benchmark may take.
_N, _M = 1000, 1000
_NO_TIME = "it did not end within the round's time"
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


def readings(run: Run) -> Iterator[Reading]:
    """Raises VmError behind the last one where a benchmark failed."""
    for name, score in run.scores.items():
        yield Reading({"score": score}, f"perf_bench {name}")
    if run.errors:
        raise VmError("; ".join(f"{name}: {said}" for name, said in run.errors.items()))


def _argv(*words: str) -> list[str]:
    return [sys.executable, "-P", "run-perfbench.py", "-a", "1", *words]


def _environment() -> dict[str, str]:
    """PYTHONPATH: upstream's runner imports what lies beside it."""
    paths = {"MICROPY_MICROPYTHON": str(unixport.BINARY), "MICROPY_CPYTHON3": sys.executable, "PYTHONPATH": str(TESTS)}
    return os.environ | paths


def as_process(only: Sequence[str], turn: Turn) -> Iterator[Reading]:
    """Of the unix port. only: files of benchmarks, all if empty."""
    argv = _argv(str(_N), str(_M), *only)
    try:
        done = subprocess.run(
            argv, cwd=TESTS, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=turn.left(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        yield from _until(e.stdout or b"", _NO_TIME)
    else:
        yield from _until(done.stdout)


def in_vm(elf: Path, accel: str, only: Sequence[str], turn: Turn) -> Iterator[Reading]:
    """Of a VM with the profile dev, by its REPL."""
    with guests.booted(guests.spec(elf, accel=accel, cards=())) as vm:
        guests.expect(vm, ">>> ", turn.left())
        terminal = Pty(vm)
        try:
            argv = _argv("-p", "-d", terminal.name, str(_N), str(_M), *only)
            said, broken_off = vm.loop.run_until_complete(_over(vm, argv, turn.left()))
        finally:
            terminal.close()
        yield from _until(said, broken_off)


def _until(said: bytes, broken_off: str = "") -> Iterator[Reading]:
    """Readings of what the runner said. broken_off: why it did not end itself; its last line may not be whole then.
    Raises VmError behind the last one."""
    text = said.decode(errors="replace")
    if not broken_off:
        yield from readings(parse(text))
        return
    whole = text[: text.rfind("\n") + 1]
    run = parse(whole) if _LINE.search(whole) else Run()
    run.errors["run-perfbench.py"] = broken_off
    yield from readings(run)


async def _over(vm: Vm, argv: Sequence[str], deadline_s: float) -> tuple[bytes, str]:
    """Run what uses the VM's terminal; ends early if the VM does. What it said, and why it was broken off, or ""."""
    runner = await asyncio.create_subprocess_exec(
        *argv, cwd=TESTS, env=_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert runner.stdout is not None
    reading = asyncio.ensure_future(runner.stdout.read())
    broken_off = ""
    try:
        async with asyncio.timeout(deadline_s):
            while not reading.done() and vm.outcome is None:
                await asyncio.wait([reading], timeout=0.5)
        if not reading.done():
            broken_off = "the VM ended before it"
    except TimeoutError:
        broken_off = _NO_TIME
    finally:
        if not reading.done():
            runner.kill()
        said = await reading
        await runner.wait()
    return said, broken_off
