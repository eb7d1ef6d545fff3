# SPDX-License-Identifier: MIT
"""CPython's time over MicroPython's, which alone is in an image that asks for no more than it has."""

from utime import *

_attrs = {
    "perf_counter": "counters",
    "perf_counter_ns": "counters",
    "monotonic": "counters",
    "monotonic_ns": "counters",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value
