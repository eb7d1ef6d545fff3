# SPDX-License-Identifier: MIT
# Recursion without end, in every way there is to recurse, is RuntimeError, again and again; so much at once that no
# VM has it is MemoryError. sys.argv[1] says which.

import json
import re
import sys


def call(n):
    return call(n + 1)


class Attr:
    def __getattr__(self, name):
        return getattr(self, name + "x")


class Same:
    __hash__ = None

    def __eq__(self, other):
        return self == other


class Text:
    def __repr__(self):
        return repr(self)


def generator(n):
    yield from generator(n + 1)


def nested():
    x = []
    for _ in range(50000):
        x = [x]
    return x


def sorting(_=None):
    return sorted([2, 1], key=sorting)


def cycle():
    a = []
    a.append(a)
    return a == [[a]] and a


def iterators():
    x = (1, 2)
    for _ in range(50000):
        x = zip(x)
    return tuple(x)


WAYS = {
    "call": lambda: call(0),
    "attr": lambda: Attr().a,
    "eq": lambda: Same() == 1,
    "repr": lambda: repr(Text()),
    "generator": lambda: list(generator(0)),
    "repr of nested lists": lambda: repr(nested()),
    "nested lists compared": lambda: nested() == nested(),
    "nested tuples hashed": lambda: hash(deep_tuple()),
    "json.dumps": lambda: json.dumps(nested()),
    "json.loads": lambda: json.loads("[" * 100000),
    "regex": lambda: re.match("(a?)*" * 3 + "b", "a" * 100000),
    "sort": sorting,
    "iterators": iterators,
    "map": lambda: list(map(sorting, [1])),
}


def deep_tuple():
    x = ()
    for _ in range(50000):
        x = (x,)
    return x


def recursion():
    for _ in range(3):
        for name, way in WAYS.items():
            try:
                way()
                print("came back:", name)
            except (RuntimeError, ValueError) as e:
                print("%s: %s" % (name, type(e).__name__))


def too_much():
    huge = int("100") << 20  # known at run time only
    for _ in range(20):
        for make in (
            lambda: bytearray(huge),
            lambda: [0] * (huge // 8),
            lambda: "x" * (huge),
            lambda: (0,) * (huge // 8),
            lambda: 1 << (huge * 8),
            lambda: bytes(huge),
        ):
            try:
                make()
                print("took it")
            except MemoryError:
                pass
    print("alive", sum(range(1000)))


{"recursion": recursion, "too_much": too_much}[sys.argv[1]]()
