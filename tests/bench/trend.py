# SPDX-License-Identifier: MIT
"""Whether a row of samples is flat: the Theil-Sen slope and its interval (P. K. Sen, JASA 63, 1968), which one sample
that something else disturbed does not move, and which needs no assumption about how samples scatter."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_NORMAL_95 = 1.96
_LEAST = 8  # below it the normal approximation of Kendall's statistic says nothing


@dataclass(frozen=True)
class Trend:
    """By how much the samples grow from the first to the last one: the estimate, and its 95 % interval."""

    median: float
    growth: float
    low: float
    high: float

    def verdict(self, tolerance: float) -> str:
        """flat: what growth there may be is below the tolerance. rises: it is surely above zero, and may be more than
        that. unclear: neither, too few samples or too much noise."""
        if self.high <= tolerance:
            return "flat"
        return "rises" if self.low > 0 else "unclear"


def trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """Raises ValueError for too few samples, or times that do not ascend."""
    n = len(values)
    if n < _LEAST or len(times) != n:
        raise ValueError(f"{n} samples, at least {_LEAST} are wanted")
    if any(b <= a for a, b in itertools.pairwise(times)):
        raise ValueError("times do not ascend")
    slopes = sorted((values[j] - values[i]) / (times[j] - times[i]) for i in range(n) for j in range(i + 1, n))
    width = _NORMAL_95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((len(slopes) - width) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + width) / 2))
    length = times[-1] - times[0]
    return Trend(
        statistics.median(values),
        statistics.median(slopes) * length,
        slopes[low] * length,
        slopes[high] * length,
    )
