# SPDX-License-Identifier: MIT
"""deque: one that grows, or keeps to its maxlen; MicroPython's third argument, flags, is taken too."""


class deque:
    """A ring in a list, doubled when it is full: _at is the place of the first of _n items."""

    def __init__(self, iterable=(), maxlen=None, flags=0):
        if maxlen is not None and maxlen < 0:
            raise ValueError("maxlen must be non-negative")
        self.maxlen = maxlen
        self._refuses = flags & 1
        self.clear()
        self.extend(iterable)

    def clear(self):
        self._ring = [None] * 8
        self._at = self._n = 0

    def _room(self, drop):
        """Make room for one more item, by drop() if there may be no more. False: none can be had."""
        if self._n == self.maxlen:
            if self._refuses:
                raise IndexError("full")
            if not self._n:
                return False
            drop()
        ring = self._ring
        if self._n == len(ring):
            self._ring = ring[self._at :] + ring[: self._at] + [None] * len(ring)
            self._at = 0
        return True

    def append(self, item):
        if not self._room(self.popleft):
            return
        self._ring[(self._at + self._n) % len(self._ring)] = item
        self._n += 1

    def appendleft(self, item):
        if not self._room(self.pop):
            return
        self._at = (self._at - 1) % len(self._ring)
        self._ring[self._at] = item
        self._n += 1

    def _place(self, i):
        if i < 0:
            i += self._n
        if not 0 <= i < self._n:
            raise IndexError("deque index out of range")
        return (self._at + i) % len(self._ring)

    def _taken(self, place):
        item = self._ring[place]
        self._ring[place] = None
        self._n -= 1
        return item

    def pop(self):
        if not self._n:
            raise IndexError("pop from an empty deque")
        return self._taken(self._place(-1))

    def popleft(self):
        if not self._n:
            raise IndexError("pop from an empty deque")
        item = self._taken(self._at)
        self._at = (self._at + 1) % len(self._ring)
        return item

    def extend(self, iterable):
        for item in list(iterable) if iterable is self else iterable:
            self.append(item)

    def extendleft(self, iterable):
        for item in list(iterable) if iterable is self else iterable:
            self.appendleft(item)

    def rotate(self, n=1):
        if self._n:
            for _ in range(n % self._n):
                self.appendleft(self.pop())

    def _become(self, items):
        self.clear()
        self.extend(items)

    def reverse(self):
        self._become(list(self)[::-1])

    def insert(self, i, item):
        if self._n == self.maxlen:
            raise IndexError("deque already at its maximum size")
        items = list(self)
        items.insert(i, item)
        self._become(items)

    def remove(self, item):
        items = list(self)
        items.remove(item)
        self._become(items)

    def index(self, item, *bounds):
        return list(self).index(item, *bounds)

    def count(self, item):
        return list(self).count(item)

    def copy(self):
        return type(self)(self, maxlen=self.maxlen)

    __copy__ = copy

    def __getitem__(self, i):
        return self._ring[self._place(i)]

    def __setitem__(self, i, item):
        self._ring[self._place(i)] = item

    def __delitem__(self, i):
        self._place(i)
        items = list(self)
        del items[i]
        self._become(items)

    def __len__(self):
        return self._n

    def __iter__(self):
        n = self._n
        for i in range(n):
            if self._n != n:
                raise RuntimeError("deque mutated during iteration")
            yield self._ring[(self._at + i) % len(self._ring)]

    def __reversed__(self):
        return iter(list(self)[::-1])

    def __contains__(self, item):
        return item in list(self)

    def __add__(self, other):
        result = self.copy()
        result.extend(other)
        return result

    def __iadd__(self, other):
        self.extend(other)
        return self

    def __eq__(self, other):
        return isinstance(other, deque) and list(self) == list(other)

    def __lt__(self, other):
        return list(self) < list(other)

    def __repr__(self):
        bound = "" if self.maxlen is None else ", maxlen={}".format(self.maxlen)
        return "deque({!r}{})".format(list(self), bound)
