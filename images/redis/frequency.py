# SPDX-License-Identifier: MIT
"""How often a key was used, in one number: its low byte is a counter that grows ever more seldom and goes down by one
in so many minutes; above it stands the minute when it was looked at last."""

import random

FIRST = 5  # of the counter, lest a new key goes at once
_MOST = 255


class Frequency:
    """The counter's rules. Owns nothing."""

    def __init__(self) -> None:
        self.factor = 10  # uses are counted with a chance of 1 in factor * (counter - FIRST) + 1
        self.minutes = 1  # until an unused counter goes down by one; 0: never

    def counter(self, said: int, minute: int) -> int:
        """As it is in this minute."""
        count = said & _MOST
        if not self.minutes:
            return count
        return max(count - (minute - (said >> 8)) // self.minutes, 0)

    def used(self, said: int | None, minute: int) -> int:
        """The number after one more use; None: of a new key."""
        if said is None:
            return minute << 8 | FIRST
        count = self.counter(said, minute)
        if count < _MOST and not random.randrange(max(count - FIRST, 0) * self.factor + 1):
            count += 1
        return minute << 8 | count
