# SPDX-License-Identifier: MIT
"""Which VM of a family gets the next connection to a port that is spread over it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_SHUNNED_S = 1.0  # who has refused a connection gets the next ones last, for so long

Target = tuple[str, int]  # IPv4 address and port


class Balance:
    """`first`: of the first VM; `family`: those of the others at the time, who come before it."""

    def __init__(self, first: Target, family: Callable[[], Sequence[Target]]) -> None:
        self.first = first
        self._family = family
        self._open: Counter[Target] = Counter()  # connections now
        self._turn = 0
        self._turns: dict[Target, int] = {}  # when each was last chosen
        self._refusals: dict[Target, float] = {}  # time.monotonic()

    def order(self) -> list[Target]:
        """Whom to try, one after the other: who has the fewest connections, of those the one chosen longest ago."""
        now = time.monotonic()
        found = list(self._family())
        for gone in self._turns.keys() - found:
            del self._turns[gone]
        self._refusals = {t: when for t, when in self._refusals.items() if t in found and now - when < _SHUNNED_S}
        found.sort(key=lambda t: (t in self._refusals, self._open[t], self._turns.get(t, 0)))
        return [*found, self.first]

    @contextmanager
    def carrying(self, target: Target) -> Iterator[None]:
        """While a connection is there."""
        self._turn += 1
        self._turns[target] = self._turn
        self._open[target] += 1
        try:
            yield
        finally:
            self._open[target] -= 1
            if not self._open[target]:
                del self._open[target]

    def refused(self, target: Target) -> None:
        """It did not take the connection."""
        self._refusals[target] = time.monotonic()
