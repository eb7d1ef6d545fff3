# SPDX-License-Identifier: MIT
"""A database: keys, their values and when they expire; who is told when a key changes.

A value's type is its Python type: bytes (string), dict (hash), list, set, SortedSet.
"""

import time

from resp import WRONG_TYPE, CommandError
from sortedset import SortedSet

TYPES = {bytes: b"string", dict: b"hash", list: b"list", set: b"set", SortedSet: b"zset"}


class Space:
    """All databases, the clock, and what the commands tell those who must know of changes."""

    def __init__(self, count: int) -> None:
        self.now = now_ms()  # the time of this turn of the loop
        self.dirty = 0  # changes since the start
        self.expired = 0
        self.hits = 0
        self.misses = 0
        self.evicted = 0
        self.as_written: list | None = None  # what a log of commands has in place of the one that runs now
        self.deleted = None  # deleted(database, key): of a key that went by itself
        self.arrived: list = []  # (database, key): elements have come, and somebody waits for them
        self.databases = [Database(self, number) for number in range(count)]


class Database:
    """One of the numbered databases."""

    def __init__(self, space: Space, number: int) -> None:
        self.space = space
        self.number = number
        self.values: dict = {}
        self.expires: dict = {}  # key -> ms since 1970
        self.watchers: dict = {}  # key -> clients that WATCH it
        self.waiters: dict = {}  # key -> clients that wait for its elements, the first one first
        self.used: dict | None = None  # key -> when or how often it was used, if eviction asks for it
        self.rate = None  # rate(what it says of a key or None): what it says after one more use

    def get(self, key: bytes) -> object:
        """The value, or None."""
        if self.expires and key in self.expires and self.expires[key] <= self.space.now:
            self.expire(key)
        return self.values.get(key)

    def look(self, key: bytes) -> object:
        """get() by a command that reads: it is counted."""
        if self.expires and key in self.expires and self.expires[key] <= self.space.now:
            self.expire(key)
        value = self.values.get(key)
        if value is None:
            self.space.misses += 1
        else:
            self.space.hits += 1
            if self.used is not None:
                self.used[key] = self.rate(self.used.get(key))
        return value

    def typed(self, key: bytes, kind: object) -> object:
        """The value if it is of this type, None if there is none. Raises CommandError."""
        value = self.get(key)
        if value is not None:
            if type(value) is not kind:
                raise CommandError(WRONG_TYPE)
            if self.used is not None:
                self.used[key] = self.rate(self.used.get(key))
        return value

    def made(self, key: bytes, kind: object) -> object:
        """The value of this type; there is an empty one afterwards if there was none. Raises CommandError."""
        value = self.typed(key, kind)
        if value is None:
            value = self.values[key] = kind()
        return value

    def put(self, key: bytes, value: object) -> None:
        """A new value, which does not expire."""
        self.values[key] = value
        if self.expires:
            self.expires.pop(key, None)
        if self.used is not None and key in self.used:
            self.used[key] = self.rate(self.used[key])
        self.touch(key)

    def touch(self, key: bytes) -> None:
        """The key has changed."""
        self.space.dirty += 1
        if self.watchers and key in self.watchers:
            for client in self.watchers[key]:
                client.watch_broken = True
        if self.waiters and key in self.waiters and key in self.values:
            self.space.arrived.append((self, key))
        if self.used is not None and key not in self.used and key in self.values:
            self.used[key] = self.rate(None)

    def changed(self, key: bytes, value: object) -> None:
        """A collection has changed; an empty one goes."""
        if not value:
            self.values.pop(key, None)
            self.expires.pop(key, None)
            if self.used is not None:
                self.used.pop(key, None)
        self.touch(key)

    def remove(self, key: bytes) -> bool:
        """False: it was not there."""
        if self.get(key) is None:
            return False
        self._drop(key)
        self.touch(key)
        return True

    def expire(self, key: bytes) -> None:
        """Its time has come."""
        self._drop(key)
        self.space.expired += 1
        self.went(key)

    def went(self, key: bytes) -> None:
        """It was dropped without a command."""
        if key in self.watchers:
            for client in self.watchers[key]:
                client.watch_broken = True
        if self.space.deleted is not None:
            self.space.deleted(self, key)

    def _drop(self, key: bytes) -> None:
        del self.values[key]
        self.expires.pop(key, None)
        if self.used is not None:
            self.used.pop(key, None)

    def evict(self, key: bytes) -> None:
        self._drop(key)
        self.space.evicted += 1
        self.went(key)

    def clear(self) -> None:
        for key in self.watchers:
            if key in self.values:
                for client in self.watchers[key]:
                    client.watch_broken = True
        self.space.dirty += 1
        self.values = {}
        self.expires = {}
        if self.used is not None:
            self.used = {}

    def live_keys(self) -> list:
        """All keys that have not expired."""
        now = self.space.now
        for key in [key for key, at in self.expires.items() if at <= now]:
            self.expire(key)
        return list(self.values)


def now_ms() -> int:
    return time.time_ns() // 1000000
