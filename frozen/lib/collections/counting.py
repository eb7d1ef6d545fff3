# SPDX-License-Identifier: MIT
"""Counter: how many of each, in the order in which they came first."""

import ucollections


class Counter(ucollections.OrderedDict):
    def __init__(self, iterable=None, **keywords):
        super().__init__()
        self.update(iterable, **keywords)

    def __getitem__(self, key):
        return super().get(key, 0)

    def __delitem__(self, key):
        self.pop(key, None)

    def elements(self):
        for key, n in self.items():
            for _ in range(n):
                yield key

    def most_common(self, n=None):
        found = [(-count, at, key) for at, (key, count) in enumerate(self.items())]
        found.sort(key=lambda item: item[:2])
        return [(key, -count) for count, _, key in found[:n]]

    def total(self):
        return sum(self.values())

    def _add(self, sign, iterable, keywords):
        if iterable is not None:
            if isinstance(iterable, dict):
                for key, n in iterable.items():
                    self[key] = self[key] + sign * n
            else:
                for key in iterable:
                    self[key] = self[key] + sign
        for key, n in keywords.items():
            self[key] = self[key] + sign * n

    def update(self, iterable=None, **keywords):
        self._add(1, iterable, keywords)

    def subtract(self, iterable=None, **keywords):
        self._add(-1, iterable, keywords)

    def copy(self):
        return type(self)(self)

    __copy__ = copy

    def _combined(self, other, function):
        result = Counter()
        for key in list(self) + [key for key in other if key not in self]:
            n = function(self[key], other[key])
            if n > 0:
                result[key] = n
        return result

    def __add__(self, other):
        return self._combined(other, lambda a, b: a + b)

    def __sub__(self, other):
        return self._combined(other, lambda a, b: a - b)

    def __or__(self, other):
        return self._combined(other, max)

    def __and__(self, other):
        return self._combined(other, min)

    def __eq__(self, other):
        if not isinstance(other, Counter):
            return dict(self) == other
        return all(self[key] == other[key] for key in list(self) + list(other))
