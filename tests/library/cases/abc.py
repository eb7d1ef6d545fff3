# SPDX-License-Identifier: MIT
from abc import ABC, abstractmethod


class Shape(ABC):
    def __init__(self, name):
        self.name = name

    @abstractmethod
    def area(self):
        return 1

    @abstractmethod
    def edges(self):
        """How many."""

    def describe(self):
        return "%s of %d" % (self.name, self.area())


class Half(Shape):
    def area(self):
        return super().area() + 1


class Square(Half):
    def __init__(self, side):
        super().__init__("square")
        self.side = side

    def area(self):
        return self.side**2 + super().area()

    def edges(self):
        return 4


for kind, args in ((Shape, ("x",)), (Half, ("x",)), (Square, (3,)), (Square, (4,))):
    try:
        made = kind(*args)
        print(made.describe(), made.edges(), isinstance(made, Shape))
    except TypeError as e:
        print(kind.__name__, "abstract" in str(e))


class Mixed(dict, Shape):
    def area(self):
        return 0

    def edges(self):
        return 0


class Plain(ABC):
    x = 5


print(issubclass(Square, Shape), Plain().x, issubclass(Mixed, dict))
