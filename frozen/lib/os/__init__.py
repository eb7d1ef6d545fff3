# SPDX-License-Identifier: MIT
"""CPython's os over MicroPython's, which alone is in an image that asks for no more than it has."""

from uos import *

_attrs = {
    "path": "path",
    "environ": "environment",
    "makedirs": "trees",
    "removedirs": "trees",
    "replace": "trees",
    "walk": "trees",
    "fspath": "trees",
    "name": "constants",
    "linesep": "constants",
    "curdir": "constants",
    "pardir": "constants",
    "extsep": "constants",
    "pathsep": "constants",
    "SEEK_SET": "constants",
    "SEEK_CUR": "constants",
    "SEEK_END": "constants",
    "cpu_count": "constants",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    value = __import__(_attrs[name], globals(), None, (name,), 1)
    globals()[name] = value = value if name == "path" else getattr(value, name)
    return value
