# SPDX-License-Identifier: MIT
"""CPython's collections over MicroPython's, which alone is in an image that asks for no more than it has."""

import ucollections

_attrs = {
    "ChainMap": "mappings",
    "Counter": "counting",
    "OrderedDict": "ordered",
    "abc": "abc",
    "defaultdict": "mappings",
    "deque": "queues",
    "namedtuple": "records",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    try:
        value = __import__(_attrs[name], globals(), None, (name,), 1)
        value = value if name == "abc" else getattr(value, name)
    except ImportError:  # nobody asks for more than MicroPython's own
        value = getattr(ucollections, name)
    globals()[name] = value
    return value
