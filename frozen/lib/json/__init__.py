# SPDX-License-Identifier: MIT
"""CPython's json over MicroPython's, which alone is in an image that asks for no more than it has."""

import ujson

_attrs = {
    "dump": "encoding",
    "dumps": "encoding",
    "JSONEncoder": "encoding",
    "load": "decoding",
    "loads": "decoding",
    "JSONDecodeError": "decoding",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    try:
        value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    except ImportError:  # nobody asks for more than MicroPython's own
        value = getattr(ujson, name)
    globals()[name] = value
    return value
