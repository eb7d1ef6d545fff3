# SPDX-License-Identifier: MIT
"""What an experiment has come to: for each figure the median of a contender's rounds, and its ratio to another's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from floe.bench import statistics
from floe.bench.experiment import Contender, Figure
from floe.bench.rounds import Result
from floe.bench.statistics import Ratio, Summary


@dataclass(frozen=True)
class Row:
    """A figure of one contender under one circumstance."""

    at: str
    x: float | None
    figure: Figure
    contender: str
    summary: Summary


@dataclass(frozen=True)
class RatioRow:
    """The same, as a ratio to another contender's."""

    at: str
    x: float | None
    figure: Figure
    contender: str
    against: str
    ratio: Ratio

    @property
    def says(self) -> str:
        """ "better" or "worse" where the interval leaves no doubt, else "unclear"; "" where there is none."""
        low, high = self.ratio.low, self.ratio.high
        if low is None or high is None:
            return ""
        if low <= 1 <= high:
            return "unclear"
        return "better" if (low > 1) == self.figure.more_is_better else "worse"


def circumstances(result: Result) -> list[tuple[str, float | None]]:
    """Each `at` with its x: along the axis, then those without a place on it, in the order in which they came."""
    found: dict[str, float | None] = {}
    for taken in result.taken:
        for reading in taken.readings:
            found.setdefault(reading.at, reading.x)
    return sorted(found.items(), key=lambda place: (place[1] is None, place[1] or 0.0))


def values(result: Result, contender: str, at: str, figure: str) -> dict[int, float]:
    """By round."""
    found: dict[int, float] = {}
    for taken in result.taken:
        for reading in taken.readings if taken.contender == contender else ():
            if reading.at == at and figure in reading.values:
                found[taken.round] = reading.values[figure]
    return found


def rows(result: Result) -> list[Row]:
    """What was measured, and only that."""
    return [
        Row(at, x, figure, contender.name, statistics.summarise(list(found.values())))
        for at, x, figure, contender in _cells(result)
        if (found := values(result, contender.name, at, figure.key))
    ]


def ratios(result: Result) -> list[RatioRow]:
    """Of the rounds in which both have measured."""
    made = []
    for at, x, figure, contender in _cells(result):
        if not contender.against:
            continue
        ours, theirs = (values(result, name, at, figure.key) for name in (contender.name, contender.against))
        both = sorted(ours.keys() & theirs.keys())
        if both and (ratio := statistics.ratio([ours[n] for n in both], [theirs[n] for n in both])):
            made.append(RatioRow(at, x, figure, contender.name, contender.against, ratio))
    return made


def _cells(result: Result) -> Iterator[tuple[str, float | None, Figure, Contender]]:
    for at, x in circumstances(result):
        for figure in result.experiment.figures:
            for contender in result.experiment.contenders:
                yield at, x, figure, contender


def others(result: Result) -> float:
    """Which part of all processors others took while it was measured, from 0 to 1."""
    seconds = sum(taken.meanwhile.seconds for taken in result.taken)
    return sum(taken.meanwhile.others * taken.meanwhile.seconds for taken in result.taken) / seconds if seconds else 0.0


def steal(result: Result) -> float:
    """The same of what the hypervisor below this machine took."""
    seconds = sum(taken.meanwhile.seconds for taken in result.taken)
    return sum(taken.meanwhile.steal * taken.meanwhile.seconds for taken in result.taken) / seconds if seconds else 0.0
