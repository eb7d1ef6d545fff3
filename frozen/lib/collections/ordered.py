# SPDX-License-Identifier: MIT
"""OrderedDict with move_to_end, an end to pop from, and an order that == looks at."""

import ucollections


class OrderedDict(ucollections.OrderedDict):
    def move_to_end(self, key, last=True):
        value = self.pop(key)
        if last:
            self[key] = value
            return
        rest = list(self.items())
        self.clear()
        self[key] = value
        self.update(rest)

    def popitem(self, last=True):
        if not self:
            raise KeyError("dictionary is empty")
        key = list(self)[-1] if last else next(iter(self))
        return key, self.pop(key)

    def copy(self):
        return type(self)(self)

    __copy__ = copy

    def __eq__(self, other):
        if isinstance(other, ucollections.OrderedDict):
            return list(self.items()) == list(other.items())
        return isinstance(other, dict) and dict(self) == other

    def __reversed__(self):
        return iter(list(self)[::-1])
