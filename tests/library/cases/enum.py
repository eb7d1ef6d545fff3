# SPDX-License-Identifier: MIT
import copy
import enum
import json
from enum import Enum, Flag, IntEnum, IntFlag, auto, unique


def tried(function, *args, **keywords):
    try:
        return function(*args, **keywords)
    except Exception as e:
        return type(e).__name__


class Colour(Enum):
    RED = 1
    GREEN = 2
    BLUE = "b"
    CRIMSON = 1

    def shout(self):
        return self.name + "!"

    @property
    def low(self):
        return self.name.lower()

    @classmethod
    def first(cls):
        return cls.RED

    @staticmethod
    def fixed():
        return 7


print(Colour.RED, repr(Colour.BLUE), Colour.RED.name, Colour.BLUE.value, Colour, Colour.__name__)
print(Colour(2), Colour("b"), Colour["GREEN"], Colour(Colour.RED), tried(Colour, 3), tried(lambda: Colour["X"]))
print(list(Colour), len(Colour), list(reversed(Colour)), [c.value for c in Colour], list(Colour.__members__))
print(Colour.CRIMSON is Colour.RED, Colour.RED == Colour.RED, Colour.RED == 1, Colour.RED != Colour.GREEN)
print(Colour.RED.shout(), Colour.GREEN.low, Colour.first(), Colour.fixed(), Colour.RED.fixed())
print(
    isinstance(Colour.RED, Colour),
    isinstance(1, Colour),
    isinstance(Colour.RED, Enum),
    isinstance(Colour.RED, (int, Colour)),
)
print(
    Colour.RED in Colour,
    {Colour.RED: "r"}[Colour(1)],
    Colour.RED in (Colour.GREEN, Colour.RED),
    hash(Colour.RED) == hash(Colour(1)),
)
print(
    "%s %s" % (Colour.RED, "x"), "{}".format(Colour.GREEN), f"{Colour.BLUE}", tried(lambda: Colour.RED < Colour.GREEN)
)
print(tried(setattr, Colour, "RED", 5), tried(setattr, Colour.RED, "value", 5), bool(Colour.RED), bool(Colour))
print(copy.copy(Colour.RED) is Colour.RED, copy.deepcopy([Colour.RED])[0] is Colour.RED)


class Numbered(Enum):
    ONE = auto()
    TWO = auto()
    TEN = 10
    ELEVEN = auto()


class Named(Enum):
    def _generate_next_value_(name, start, count, last_values):
        return name.lower() + str(count)

    A = auto()
    B = auto()


print([n.value for n in Numbered], [n.value for n in Named])


class Planet(Enum):
    MERCURY = (3.3, 2.4)
    EARTH = (5.9, 6.3)

    def __init__(self, mass, radius):
        self.mass = mass
        self.radius = radius

    @property
    def ratio(self):
        return round(self.mass / self.radius, 2)


print(Planet.EARTH.mass, Planet.MERCURY.ratio, Planet.EARTH.value, Planet((3.3, 2.4)))


class Labelled(Enum):
    def __new__(cls, value, label):
        obj = object.__new__(cls)
        obj._value_ = value
        obj.label = label
        return obj

    PX = (0, "P.X")
    PY = (1, "P.Y")


print(Labelled.PX, Labelled(1).label, Labelled.PY.value)


class Priority(IntEnum):
    LOW = 1
    HIGH = 5


print(
    Priority.HIGH > Priority.LOW,
    Priority.LOW + 1,
    sorted([Priority.HIGH, Priority.LOW]),
    Priority.LOW == 1,
    [10, 20][Priority.LOW],
)
print(
    Priority.HIGH,
    repr(Priority.HIGH),
    "%d" % Priority.HIGH,
    isinstance(Priority.LOW, int),
    Priority(5).name,
    {1: "x"}[Priority.LOW],
)
print(
    json.dumps({"p": Priority.HIGH}), int(Priority.HIGH), max(Priority), Priority.HIGH in (5, 6), range(Priority.HIGH)
)


class Suit(str, Enum):
    CLUBS = "clubs"
    SPADES = "spades"


print(
    Suit.CLUBS == "clubs",
    Suit("spades"),
    Suit.CLUBS.upper(),
    isinstance(Suit.CLUBS, str),
    repr(Suit.CLUBS),
    len(Suit.CLUBS),
)
print(
    json.dumps([Suit.CLUBS]),
    "a" + Suit.SPADES,
    {"clubs": 1}[Suit.CLUBS],
    Suit.CLUBS.value + "!",
    Suit.CLUBS < Suit.SPADES,
)


class Level(enum.StrEnum):
    DEBUG = auto()
    INFO = "info!"


print(Level.DEBUG, repr(Level.INFO), Level.DEBUG == "debug", f"{Level.INFO}", Level("debug").name)


class Perm(Flag):
    R = auto()
    W = auto()
    X = auto()
    RW = R | W


rw = Perm.R | Perm.W
print(rw, repr(rw), rw is Perm.RW, Perm.R in rw, Perm.X in rw, rw & Perm.W, rw ^ Perm.R, ~Perm.R, bool(rw & Perm.X))
print(
    Perm.R | Perm.X,
    repr(Perm.R | Perm.X),
    (Perm.R | Perm.X).value,
    list(Perm),
    list(rw),
    len(rw),
    Perm(0),
    repr(Perm(0)),
)
print(
    Perm(5) is Perm.R | Perm.X,
    tried(Perm, 8),
    tried(lambda: Perm.R | 1),
    [p.value for p in Perm],
    (Perm.W | Perm.X).name,
    Perm(3),
)
print(isinstance(rw, Perm), Perm["RW"], Perm.R == 1, Perm.R != Perm.W, list(Perm.__members__))


class Bits(IntFlag):
    A = 1
    B = 4


print(
    Bits.A | Bits.B,
    repr(Bits.A | Bits.B),
    Bits.A | 2,
    Bits(9).value,
    Bits.B & 4,
    Bits.A == 1,
    isinstance(Bits.A | 2, Bits),
    Bits.B + 1,
)

Animal = Enum("Animal", "ANT BEE CAT")
print(list(Animal), Animal.BEE.value, Enum("Pair", {"X": 7, "Y": 8}).Y, Enum("L", ["P", "Q"], start=5).Q.value)
print(Enum("T", [("M", 3), ("N", 4)])(4))


@unique
class Fine(Enum):
    A = 1
    B = 2


def repeated():
    @unique
    class Wrong(Enum):
        A = 1
        B = 1


def extended():
    class More(Colour):
        PINK = 9


class WithMethods(Enum):
    def describe(self):
        return "I am " + self.name

    def __str__(self):
        return "<" + self.name + ">"


class Child(WithMethods):
    ONLY = 1


print(
    tried(repeated),
    tried(extended),
    Child.ONLY.describe(),
    Child.ONLY,
    repr(Child.ONLY),
    isinstance(Child.ONLY, WithMethods),
)


class Fallback(Enum):
    NONE = 0

    @classmethod
    def _missing_(cls, value):
        return cls.NONE


print(Fallback(99), Fallback.NONE.value)


class Lists(Enum):
    A = [1]
    B = [2]


print(Lists([2]), Lists.A.value, Lists.A is Lists([1]))
