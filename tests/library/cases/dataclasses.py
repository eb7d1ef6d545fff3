# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import json
from dataclasses import KW_ONLY, MISSING, InitVar, asdict, astuple, dataclass, field, fields, is_dataclass, replace
from typing import ClassVar, Optional


def tried(function, *args, **keywords):
    try:
        return function(*args, **keywords)
    except Exception as e:
        return type(e).__name__


@dataclass
class Point:
    x: int
    y: int = 0
    name: Optional[str] = None
    tags: list[str] = field(default_factory=list)
    kind: ClassVar[str] = "point"

    def total(self):
        return self.x + self.y


p = Point(1, 2)
print(p, p.total(), Point(x=3), Point(1, tags=["a"]), p.kind, Point.y, hasattr(Point, "x"))
print(p == Point(1, 2), p == Point(2, 1), p != Point(1, 2), p == (1, 2, None, []), p.tags is Point(1, 2).tags)
print(tried(Point), tried(Point, 1, 2, 3, 4, 5), tried(Point, 1, z=2), tried(Point, 1, x=2), tried(hash, p))
print(
    [f.name for f in fields(p)],
    fields(Point)[1].default,
    is_dataclass(p),
    is_dataclass(Point),
    is_dataclass(int),
    tried(fields, 3),
)
p.x = 10
print(
    sorted(asdict(p).items(), key=lambda item: item[0]),
    astuple(p),
    json.loads(json.dumps(asdict(p)))["x"],
    replace(p, y=9),
)


@dataclass(order=True, frozen=True)
class Version:
    major: int
    minor: int = 0
    label: str = field(default="", compare=False, repr=False)


a, b = Version(1, 2, "a"), Version(1, 3)
print(
    a < b,
    a <= b,
    a > b,
    a >= b,
    a == Version(1, 2, "other"),
    sorted([b, a]),
    max(a, b),
    hash(a) == hash(Version(1, 2)),
    {a: 1}[Version(1, 2)],
)
print(
    tried(setattr, a, "major", 5), tried(delattr, a, "major"), a, replace(a, major=7).label, tried(lambda: a < (1, 2))
)
print(issubclass(dataclasses.FrozenInstanceError, AttributeError))


@dataclass
class Base:
    a: int
    b: int = 5

    def hello(self):
        return "hello %d" % self.a


@dataclass
class Derived(Base):
    c: int = 7
    b: int = 6


@dataclass
class Empty(Base):
    pass


print(
    Derived(1),
    Derived(1, 2, 3),
    Derived(1).hello(),
    Derived(1) == Base(1, 6),
    Empty(4),
    [f.name for f in fields(Derived)],
)


@dataclass
class Rect:
    w: float
    h: float
    scale: InitVar[float] = 1.0
    area: float = field(init=False)
    _: KW_ONLY
    unit: str = "m"

    def __post_init__(self, scale):
        self.area = self.w * self.h * scale


print(
    Rect(2, 3),
    Rect(2, 3, 2.0).area,
    Rect(1, 1, unit="cm"),
    tried(Rect, 1, 1, 1, "cm"),
    hasattr(Rect(1, 1), "scale") and Rect.scale,
)


@dataclass(kw_only=True)
class Options:
    debug: bool = False
    port: int


@dataclass(repr=False, eq=False)
class Quiet:
    x: int

    def __repr__(self):
        return "quiet"


@dataclass(unsafe_hash=True)
class Hashed:
    x: int
    y: int = field(default=1, hash=False)


print(
    Options(port=80),
    tried(Options, 80),
    Quiet(1),
    Quiet(1) == Quiet(1),
    hash(Hashed(1, 2)) == hash(Hashed(1, 3)),
    Hashed(1) == Hashed(1, 2),
)


@dataclass
class Node:
    value: int
    children: "list[Node]" = field(default_factory=list)
    where: Point = None


tree = Node(1, [Node(2), Node(3, where=Point(1))])
print(tree)
print(asdict(tree)["children"][1]["where"]["x"], astuple(tree), asdict(Point(1, tags=["q"]), dict_factory=sorted))


def bad_order():
    @dataclass
    class Bad:
        x: int = 1
        y: int


def mutable():
    @dataclass
    class Bad:
        x: list = []


print(tried(bad_order), tried(mutable), tried(dataclass, wrong=1), tried(field, default=1, default_factory=list))
Made = dataclasses.make_dataclass(
    "Made", ["x", ("y", int), ("z", int, 5)], namespace={"sum": lambda self: self.x + self.y + self.z}
)
print(
    Made(1, 2),
    Made(1, 2).sum(),
    Made(1, 2) == Made(1, 2, 5),
    field(default=3).default,
    fields(Made)[0].default is MISSING,
)


@dataclass
class Own:
    x: int

    def __init__(self, x):
        self.x = x * 2

    def __eq__(self, other):
        return True


@dataclass
class OwnInit:
    x: int = 3
    z: int = field(default=4, metadata={"unit": "m"})


print(Own(2), Own(1) == 5, OwnInit(), fields(OwnInit)[1].metadata["unit"], fields(OwnInit)[0].type)


@dataclass
class Node:
    n: int
    nodes: list = field(default_factory=list)
    other: object = None


loop = Node(1)
loop.nodes.append(loop)
loop.other = Node(2, other=loop)
print(loop, loop.other, [loop, loop])
