# SPDX-License-Identifier: MIT
"""Comparisons made of others: cmp_to_key and total_ordering."""


def cmp_to_key(mycmp):
    class Key:
        def __init__(self, obj):
            self.obj = obj

        def __lt__(self, other):
            return mycmp(self.obj, other.obj) < 0

        def __gt__(self, other):
            return mycmp(self.obj, other.obj) > 0

        def __le__(self, other):
            return mycmp(self.obj, other.obj) <= 0

        def __ge__(self, other):
            return mycmp(self.obj, other.obj) >= 0

        def __eq__(self, other):
            return mycmp(self.obj, other.obj) == 0

    return Key


def _made(root, negate, equal):
    """A comparison from another one and ==. equal: None where == says nothing, else what it adds or takes."""

    def compare(self, other):
        said = getattr(self, root)(other)
        if said is NotImplemented:
            return said
        if negate:
            said = not said
        if equal is None:
            return said
        return said or self == other if equal else said and self != other

    return compare


_FROM = {
    "__lt__": (("__gt__", True, False), ("__le__", False, True), ("__ge__", True, None)),
    "__le__": (("__ge__", True, True), ("__lt__", False, False), ("__gt__", True, None)),
    "__gt__": (("__lt__", True, False), ("__ge__", False, True), ("__le__", True, None)),
    "__ge__": (("__le__", True, True), ("__gt__", False, False), ("__lt__", True, None)),
}


def total_ordering(cls):
    for root in ("__lt__", "__le__", "__gt__", "__ge__"):
        if hasattr(cls, root):
            for name, negate, equal in _FROM[root]:
                if not hasattr(cls, name):
                    setattr(cls, name, _made(root, negate, equal))
            return cls
    raise ValueError("must define at least one ordering operation: < > <= >=")
