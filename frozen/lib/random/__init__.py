# SPDX-License-Identifier: MIT
"""CPython's random over MicroPython's, which alone is in an image that asks for no more than it has."""

from urandom import *

_attrs = {
    "shuffle": "picking",
    "sample": "picking",
    "choices": "picking",
    "randbytes": "picking",
    "gauss": "spread",
    "normalvariate": "spread",
    "lognormvariate": "spread",
    "expovariate": "spread",
    "triangular": "spread",
    "paretovariate": "spread",
    "weibullvariate": "spread",
    "SystemRandom": "system",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value
