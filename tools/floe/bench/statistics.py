# SPDX-License-Identifier: MIT
"""Median, extremes, and a 95 % interval by bootstrap: the percentiles of the statistic over samples that are drawn
again from what was measured, with a fixed seed, so that the same figures give the same interval."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

_DRAWS = 2000
_DRAWS_SEED = 16
_LEVEL = 0.95
LEAST = 6  # figures below which no interval is told: of fewer it would be too narrow, and find what is not there


@dataclass(frozen=True)
class Summary:
    """Of `count` figures. low, high: the interval, None where there are too few."""

    median: float
    min: float
    max: float
    count: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Ratio:
    """A median over another's, and the interval over rounds in which both have measured."""

    ratio: float
    rounds: int
    low: float | None
    high: float | None


def summarise(values: Sequence[float]) -> Summary:
    """Raises ValueError where there is no figure."""
    if not values:
        raise ValueError("no figure to summarise")
    return _summarised(tuple(values))


@cache  # tables, pictures and each writing of the report ask for the same
def _summarised(values: tuple[float, ...]) -> Summary:
    low, high = _interval(len(values), lambda drawn: statistics.median([values[i] for i in drawn]))
    return Summary(statistics.median(values), min(values), max(values), len(values), low, high)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio | None:
    """Of the medians of two that took turns: the same place in both is the same round, and both are drawn together, so
    that what disturbed a round disturbs its ratio little. None where the divisor is no positive number."""
    if len(ours) != len(theirs) or not ours:
        raise ValueError("a ratio is of figures from the same rounds")
    return None if min(theirs) <= 0 else _compared(tuple(ours), tuple(theirs))


@cache
def _compared(ours: tuple[float, ...], theirs: tuple[float, ...]) -> Ratio:
    def of(drawn: Sequence[int]) -> float:
        return statistics.median([ours[i] for i in drawn]) / statistics.median([theirs[i] for i in drawn])

    low, high = _interval(len(ours), of)
    return Ratio(of(range(len(ours))), len(ours), low, high)


def _interval(count: int, statistic: Callable[[Sequence[int]], float]) -> tuple[float | None, float | None]:
    """statistic: of the places that were drawn."""
    if count < LEAST:
        return None, None
    # A generator of our own: nobody else's draws change ours.
    drawing = random.Random(_DRAWS_SEED)
    found = sorted(statistic(drawing.choices(range(count), k=count)) for _ in range(_DRAWS))
    beyond = int(_DRAWS * (1 - _LEVEL) / 2)
    return found[beyond], found[-1 - beyond]
