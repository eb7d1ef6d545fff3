# SPDX-License-Identifier: MIT
"""Room for what is to be written: how much memory the keys may take, and which ones go for others.

Memory is measured by a collection of garbage; in between, what was written since is added up.
"""

import gc
import random

from frequency import FIRST, Frequency

POLICIES = (
    b"noeviction",
    b"allkeys-lru",
    b"volatile-lru",
    b"allkeys-lfu",
    b"volatile-lfu",
    b"allkeys-random",
    b"volatile-random",
    b"volatile-ttl",
)
_ENTRY = 112  # bytes that a value costs beside its own
_DRAWN = 5  # keys of which the best one goes
_MINUTE_MS = 60000
_AGAIN_MS = 100  # between two measurements that found no room


class Eviction:
    """Owns the policy."""

    def __init__(self, space: object) -> None:
        self._space = space
        self.policy = b"noeviction"
        self.base = 0  # bytes in use before there were keys
        self.frequency = Frequency()
        self._room = 0  # bytes that may be written before the next measurement
        self._full_since = 0
        self._candidates: list = []  # (database, key), drawn at random

    def choose(self, policy: bytes) -> None:
        rate = self._used_now if policy.endswith(b"lru") else self._used_more if policy.endswith(b"lfu") else None
        same = policy[-3:] == self.policy[-3:]
        self.policy = policy
        for db in self._space.databases:
            db.rate = rate
            db.used = None if rate is None else db.used if same and db.used is not None else {}
        self._candidates = []
        self.measure_again()

    def _used_now(self, _: object) -> int:
        return self._space.now

    def _used_more(self, said: object) -> int:
        return self.frequency.used(said, self._space.now // _MINUTE_MS)

    def often(self, db: object, key: bytes) -> int:
        """The counter of a key's uses."""
        said = db.used.get(key)
        return FIRST if said is None else self.frequency.counter(said, self._space.now // _MINUTE_MS)

    def measure_again(self) -> None:
        self._room = 0
        self._full_since = 0

    def make_room(self, limit: int, args: list) -> bool:
        """False: there is none for such a command."""
        for arg in args:
            self._room -= len(arg) + _ENTRY
        if self._room >= 0:
            return True
        if self._space.now - self._full_since < _AGAIN_MS:
            return False
        gc.collect()
        self._room = limit - (gc.mem_alloc() - self.base)
        if self._room < limit >> 6:
            self._free((limit >> 4) - self._room)
        if self._room > 0:
            return True
        self._full_since = self._space.now
        return False

    def _free(self, wanted: int) -> None:
        """Let keys go that hold about so many bytes."""
        if self.policy == b"noeviction":
            return
        freed = 0
        while freed < wanted:
            chosen = self._chosen()
            if chosen is None:
                break
            db, key = chosen
            freed += self.size_of(key, db.values[key])
            db.evict(key)
        self._room += freed

    def _chosen(self) -> tuple | None:
        """(database, key) of the best one of a few, or None."""
        best = None
        least = 0
        drawn = 0
        while drawn < _DRAWN:
            if not self._candidates and not self._fill():
                break
            db, key = self._candidates.pop()
            if key not in db.values or (self.policy.startswith(b"v") and key not in db.expires):
                continue
            drawn += 1
            rank = self._rank(db, key)
            if best is None or rank < least:
                if best is not None:
                    self._candidates.insert(0, best)
                best, least = (db, key), rank
            elif len(self._candidates) < _DRAWN:
                break
        return best

    def _fill(self) -> bool:
        """With all keys in no order. False: there are none."""
        self._candidates = [
            (db, key)
            for db in self._space.databases
            for key in (db.expires if self.policy.startswith(b"v") else db.values)
        ]
        size = len(self._candidates)
        for at in range(size - 1):
            other = at + random.randrange(size - at)
            self._candidates[at], self._candidates[other] = self._candidates[other], self._candidates[at]
        return bool(size)

    def _rank(self, db: object, key: bytes) -> int:
        """The least one goes."""
        if self.policy.endswith(b"ttl"):
            return db.expires[key]
        if self.policy.endswith(b"lfu"):
            return self.often(db, key)
        return db.used.get(key, 0) if db.used is not None else 0

    def size_of(self, key: bytes, value: object) -> int:
        """About how many bytes a key holds."""
        size = len(key) + _ENTRY
        kind = type(value)
        if kind is bytes:
            return size + len(value)
        if kind is dict:
            return size + sum([len(name) + len(each) + _ENTRY for name, each in value.items()])
        if kind is list or kind is set:
            return size + sum([len(each) + 48 for each in value])
        return size + sum([len(member) + 2 * _ENTRY for member in value.scores])
