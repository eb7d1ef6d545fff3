# SPDX-License-Identifier: MIT
"""A sorted set: members with scores, in the order of score and then of bytes."""

from _resp import spread

_STEP = 256


def grown(values: dict) -> None:
    """Something was added: now and then a large dict is looked at, lest it becomes full and slow."""
    if not len(values) % _STEP:
        spread(values)


class SortedSet:
    """`scores` has a member's score; `order` has (score, member), sorted."""

    def __init__(self) -> None:
        self.scores: dict = {}
        self.order: list = []

    def __len__(self) -> int:
        return len(self.order)

    def __bool__(self) -> bool:
        return bool(self.order)

    def set(self, member: bytes, score: float) -> None:
        old = self.scores.get(member)
        if old is not None:
            if old == score:
                return
            del self.order[self.rank_of((old, member))]
        self.scores[member] = score
        grown(self.scores)
        entry = (score, member)
        self.order.insert(self.rank_of(entry), entry)

    def remove(self, member: bytes) -> bool:
        """False: it was not there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[self.rank_of((score, member))]
        return True

    def remove_slice(self, low: int, high: int) -> int:
        """Returns how many."""
        gone = self.order[low:high]
        for _, member in gone:
            del self.scores[member]
        self.order[low:high] = []
        return len(gone)

    def rank_of(self, entry: tuple) -> int:
        """Where (score, member) is, or would be."""
        order = self.order
        low = 0
        high = len(order)
        while low < high:
            middle = (low + high) >> 1
            if order[middle] < entry:
                low = middle + 1
            else:
                high = middle
        return low

    def first_not(self, before: object) -> int:
        """The first rank whose (score, member) before() does not hold of; it holds up to there."""
        low = 0
        high = len(self.order)
        while low < high:
            middle = (low + high) >> 1
            if before(self.order[middle]):
                low = middle + 1
            else:
                high = middle
        return low

    def copy(self) -> "SortedSet":
        other = SortedSet()
        other.scores = self.scores.copy()
        other.order = self.order[:]
        return other
