# SPDX-License-Identifier: MIT
"""CPython's heapq over MicroPython's, which alone is in an image that asks for no more than it has."""

from uheapq import heapify, heappop, heappush

_attrs = {"heappushpop": "more", "heapreplace": "more", "merge": "more", "nlargest": "more", "nsmallest": "more"}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value
