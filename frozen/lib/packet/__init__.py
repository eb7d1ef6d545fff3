# SPDX-License-Identifier: MIT
"""Packets that go from card to card, without Python in between; the engine is in C. A part is in an image only if its
names are used."""

_attrs = {
    "counters": "router",
    "forward": "router",
    "route": "router",
    "routes": "router",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value
