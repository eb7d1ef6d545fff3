# SPDX-License-Identifier: MIT
"""What the language itself has: what modules lean on."""

from __future__ import annotations, division, print_function

import json


class Meta(type):
    def __init__(self, name, bases, namespace):
        super().__init__(name, bases, namespace)

    def __len__(self):
        return 3


Base = Meta("Base", (), {"x": 1})
print(len(Base), Base.x, isinstance(Base, type))


class Counted(dict):
    def __repr__(self):
        return "Counted"


c = Counted()
c["ab"] = 1
d = {"cd": 2}
d.update(c)
print(repr(c), dict(c), sorted(d.items()), json.dumps(c), json.dumps([c]))


class Text(str):
    def __repr__(self):
        return "Text"


class Number(int):
    def __str__(self):
        return "Number"


one, two = Number(1), Number(2)
print(one < two, 1 < two, one + two, 10 - two, one == 1, sorted([two, one]) == [1, 2], [5, 6][one], {1: "x"}[one])
print("a" + Text("b"), {"k": 1}[Text("k")], {"k": 1}.get(Text("z")), Text("a") < Text("b"), Text("k") in ["k"])


class Pair(tuple):
    pass


pair = Pair((1, 2))
print((0,) + pair, pair + (3,), pair + pair, pair == (1, 2), (1, 2) == pair, pair < (2,), (2,) > pair)
Space = type("Space", (), Counted(x=5))
print(Space.x, Space().x)


class Reflected:
    def __gt__(self, other):
        return "reflected"

    def __ge__(self, other):
        return NotImplemented


print(3 < Reflected(), "text" < Reflected())
for compare in (lambda: 3 <= Reflected(), lambda: 3 > Reflected(), lambda: 1 < "x", lambda: two < "x"):
    try:
        print(compare())
    except TypeError:
        print("TypeError")
print(json.dumps(Text("x")), json.dumps(Number(4)), repr(Text("x")), str(Number(4)))


def f(x: list[int] | None = None) -> dict[str, Undefined]:
    y: Undefined = x
    return y


class Fields:
    a: Undefined[int]
    b: "also.undefined" = 2


print(f(3), Fields.b)
rows = [(i % 3, i) for i in range(40)]
print("stable", [i for _, i in sorted(rows, key=lambda row: row[0])] == [i for k in range(3) for i in range(k, 40, 3)])
print("in order", list({"z": 1, "y": 2, "x": 3, "w": 4, "v": 5}) == list("zyxwv"))
