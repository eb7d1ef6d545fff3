# SPDX-License-Identifier: MIT
"""What is measured, as data: an experiment has contenders, a contender measures one round, a round gives readings.

A contender's `measure` is a generator: it starts what it measures, yields a Reading for each thing it has measured, and
ends what it started when it is closed, in `with` and `finally`. What it has yielded is kept, whatever comes next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from floe.errors import TimedOut


@dataclass(frozen=True)
class Figure:
    """A quantity. key: under which readings have it; title: for a person; unit: "ms", "1/s", "" for a number."""

    key: str
    title: str
    unit: str
    more_is_better: bool = False


@dataclass(frozen=True)
class Reading:
    """Numbers by their figures' keys. at: under which circumstances, as "10 at once" or "1000/s", "" where there is one
    kind only; x: the same on an axis, where the experiment has one."""

    values: Mapping[str, float]
    at: str = ""
    x: float | None = None


class RoundOver(TimedOut):
    """A round has no time for what it would do next."""


@dataclass(frozen=True)
class Turn:
    """What a contender is told for one round. end: of time.monotonic(), when the round is cut off."""

    number: int
    quick: bool
    end: float

    def left(self) -> float:
        """Seconds until the round is cut off. Raises RoundOver when there are none: no wait may begin."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise RoundOver("the round's time is over")
        return left


@dataclass(frozen=True)
class Contender:
    """One of those that are compared. against: the name of the contender that its ratios are made with, "" for none;
    command: the command line that it runs, for the report. limit_s: cuts one round off."""

    name: str
    measure: Callable[[Turn], Iterator[Reading]]
    against: str = ""
    command: str = ""
    limit_s: float = 60.0


@dataclass(frozen=True)
class LeftOut:
    """A contender that is not measured on this machine, or not in this run, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Experiment:
    """rounds: how often each contender measures; seconds: for all of it, after which no round begins and the one that
    runs is cut off. axis: what the readings' x is, as "requests offered, 1/s"; note: what a reader must know."""

    name: str
    title: str
    measures: str
    figures: tuple[Figure, ...]
    contenders: tuple[Contender, ...]
    rounds: int
    seconds: float
    left_out: tuple[LeftOut, ...] = ()
    axis: str = ""
    note: str = ""


@dataclass(frozen=True)
class Options:
    """What the user asked for. accels: those that are compared; rounds: 0 for the experiment's own number; peers: files
    of contenders of the user's own; say: takes a line of progress."""

    quick: bool = False
    accels: tuple[str, ...] = ()
    rounds: int = 0
    peers: tuple[Path, ...] = ()
    say: Callable[[str], None] = field(default=lambda text: None, compare=False)

    def of(self, full: int, quick: int) -> int:
        """How many rounds: as asked, or an experiment's own number."""
        return self.rounds or (quick if self.quick else full)
