# SPDX-License-Identifier: MIT
"""Samples of a VM, added up: in how many it was where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

_LINES = 30  # of the table
_FUNCTIONS = 5  # of C, below each
_LEAST = 0.005  # of all samples, for a line to be told
NOWHERE = "(no Python)"


class Frame(NamedTuple):
    """A Python function, and where in it."""

    file: str
    line: int
    function: str

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.file}:{self.line} {self.function}"


class Stack(msgspec.Struct, frozen=True):
    """Samples that are alike. frames: the outermost first; c: the C function (image/frames.py)."""

    frames: tuple[Frame, ...]
    c: str
    count: int


class _Taken(msgspec.Struct, frozen=True):
    """What a keeper tells (detached/sampling.py)."""

    seconds: float
    lost: int
    idle: int
    stacks: list[Stack]
    exits: dict[str, int] = {}


@dataclass(frozen=True)
class Row:
    """A line of the table: part of the samples that were there and nowhere further in, and of those that were there or
    in what it called. python: a Python line; else a C function below the one before."""

    own: float
    total: float | None
    text: str
    python: bool


@dataclass
class Samples:
    """All of a profile. seconds: what it was taken over; lost: samples whose Python frames could not be read;
    idle: of the others, those in which the processor waited; exits: how often it left the guest, by reasons, and
    counted: over how many seconds."""

    seconds: float = 0.0
    lost: int = 0
    idle: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    counted: float = 0.0
    _found: Counter[tuple[tuple[Frame, ...], str]] = field(default_factory=Counter)

    def add(self, told: dict[str, Any]) -> None:
        """Raises msgspec.ValidationError."""
        taken = msgspec.convert(told, _Taken)
        self.seconds += taken.seconds
        self.lost += taken.lost
        self.idle += taken.idle
        self.exits.update(taken.exits)
        self.counted += taken.seconds if taken.exits else 0.0
        for stack in taken.stacks:
            self._found[stack.frames, stack.c] += stack.count

    @property
    def count(self) -> int:
        return self._found.total()

    @property
    def stacks(self) -> list[Stack]:
        """The most frequent first."""
        return [Stack(frames, c, count) for (frames, c), count in self._found.most_common()]


def rows(stacks: Sequence[Stack]) -> list[Row]:
    """The Python lines in which the most samples were, each with the C functions that it was in."""
    samples = sum(stack.count for stack in stacks)
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    below: dict[str, Counter[str]] = {}
    for stack in stacks:
        places = [frame.place for frame in stack.frames] or [NOWHERE]
        own[places[-1]] += stack.count
        for place in set(places):  # one that calls itself counts once
            total[place] += stack.count
        below.setdefault(places[-1], Counter())[stack.c] += stack.count
    found = []
    for place in sorted(total, key=lambda place: (-own[place], -total[place], place))[:_LINES]:
        if total[place] < samples * _LEAST:
            continue
        found.append(Row(own[place] / samples, total[place] / samples, place, python=True))
        for name, count in below.get(place, Counter()).most_common(_FUNCTIONS):
            if count >= samples * _LEAST:
                found.append(Row(count / samples, None, name, python=False))
    return found
