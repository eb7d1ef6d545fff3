# SPDX-License-Identifier: MIT
"""What the benches share: guests, medians, facts about the machine."""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from floe.bench import guests
from floe.bench.surroundings import describe
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
    return list(guests.usable_accels("auto"))


build, expect = guests.build, guests.expect


def floe_vm(elf: Path, **how: Any) -> AbstractContextManager[Vm]:
    """A booted image; ended on leaving, and a panic in it fails the bench. how: as guests.spec() has it."""
    return guests.booted(guests.spec(elf, **how))


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
    return {**describe(), "wrk": shutil.which("wrk") is not None, "accels": usable_accels()}
