# SPDX-License-Identifier: MIT
"""What the benches share: guests, medians, facts about the machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pexpect import EOF, TIMEOUT

from floe.build import pipeline
from floe.build.pipeline import Profile
from floe.errors import VmError
from floe.qemu import accel
from floe.qemu.commandline import find_qemu
from floe.spec.network import Card
from floe.spec.ports import claim, parse_forward
from floe.spec.vmspec import VmSpec, parse_memory
from floe.vm.vm import Vm

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GUESTS = HERE / "guests"
WEB = ROOT / "images" / "web"

Report = dict[str, Any]


@dataclass
class Options:
    """How thorough to be."""

    quick: bool = False
    accels: list[str] = field(default_factory=list)  # those of this machine
    boots: int = 1000
    hours: float = 2.0

    @property
    def rounds(self) -> int:
        return 2 if self.quick else 5

    def seconds(self, full: int) -> int:
        """A duration, or its short form."""
        return 3 if self.quick else full


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def usable_accels() -> list[str]:
    try:
        accel.check_kvm()
    except VmError:
        return ["tcg"]
    return ["kvm", "tcg"]


@cache
def build(app: Path, *, profile: Profile | None = None) -> Path:
    """Built once: every round measures the same ELF. profile: the app's own if None."""
    return pipeline.build(app, profile=profile).path


@contextmanager
def floe_vm(
    elf: Path,
    *,
    accel: str,
    memory: str = "32M",
    ports: Sequence[int | str] = (),
    cards: tuple[Card, ...] = (Card(),),
    machine: str = "microvm",
    switches: tuple[str, ...] = (),
    env: tuple[tuple[str, str], ...] = (),
    children: int | None = None,
) -> Iterator[Vm]:
    """A booted image; ended on leaving, and a panic in it fails the bench."""
    spec = VmSpec(
        elf=elf,
        memory=parse_memory(memory),
        machine=machine,
        accel=accel,
        cards=cards,
        forwards=claim([parse_forward(f"0:{port}") for port in ports]),
        switches=switches,
        env=env,
        children=children,
    )
    with Vm(spec) as vm:
        yield vm
        if vm.outcome is None:
            vm.pump(lambda: False, 0.05)
        if "PANIC" in vm.console_text:
            raise VmError("the guest panicked", evidence=vm.console_text[-2000:])


def expect(vm: Vm, text: str, deadline_s: float = 30.0) -> None:
    if vm.expect_exact([text, TIMEOUT, EOF], timeout=deadline_s):
        raise VmError(f"the guest did not say {text!r}", evidence=vm.console_text[-2000:])


def wait_until(true: Callable[[], bool], deadline_s: float) -> bool:
    """Whether it holds before the deadline."""
    end = time.monotonic() + deadline_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def median(values: Sequence[float], digits: int = 3) -> float:
    return round(statistics.median(values), digits)


def spread(values: Sequence[float], digits: int = 3) -> Report:
    """Median, extremes, and the values in the order they were measured."""
    shown = [round(v, digits) for v in values]
    return {"median": median(values, digits), "min": min(shown), "max": max(shown), "values": shown}


def alternate(rounds: int, systems: dict[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Measure each system once per round, so that what the machine does meanwhile meets all alike."""
    results: dict[str, list[Any]] = {name: [] for name in systems}
    for number in range(rounds):
        for name, measure in systems.items():
            say(f"  round {number + 1}/{rounds}: {name}")
            results[name].append(measure())
    return results


def ratios(runs: dict[str, list[Report]], key: str) -> Report:
    """Of every TCG guest of ours to the Linux one, round by round. The last system of `runs` is Linux."""
    linux = list(runs)[-1]
    return {
        f"{name} : {linux}": spread([ours[key] / theirs[key] for ours, theirs in zip(values, runs[linux], strict=True)])
        for name, values in runs.items()
        if " tcg " in name and name != linux
    }


def machine() -> Report:
    """Facts that figures depend on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    version = subprocess.run([find_qemu(), "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
    )
    return {
        "cpu": cpu[1] if cpu else "",
        "cores": os.cpu_count(),
        "ram_mib": int(memory[1]) // 1024 if memory else 0,
        "kernel": platform.release(),
        "qemu": version.splitlines()[0],
        "gcc": subprocess.run(
            ["gcc", "-dumpfullversion"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip(),
        "wrk": shutil.which("wrk") is not None,
        "accels": usable_accels(),
        "load_before": round(os.getloadavg()[0], 2),
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
