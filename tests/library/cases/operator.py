# SPDX-License-Identifier: MIT
import operator
from operator import attrgetter, itemgetter, methodcaller


def tried(function, *args, **keywords):
    try:
        return function(*args, **keywords)
    except Exception as e:
        return type(e).__name__


for name in "lt le eq ne ge gt is_ is_not add and_ floordiv lshift mod mul or_ pow rshift sub truediv xor".split():
    print(name, getattr(operator, name)(7, 2), getattr(operator, name)(3, 3))
for name in "not_ truth inv invert neg pos index".split():
    print(name, getattr(operator, name)(6))
print("index", tried(operator.index, 1.5), operator.index(True))
for name in "iadd iand imul ior isub ixor".split():
    print(name, getattr(operator, name)(6, 3))
a = [1]
print("in place", operator.iadd(a, [2]) is a, operator.iconcat(a, [3]), operator.concat([1], [2]), a)
print("contains", operator.contains([1, 2], 2), operator.countOf([1, 2, 1], 1), operator.indexOf("abc", "c"))
print("indexOf", tried(operator.indexOf, [1], 3))
d = {"a": 1}
operator.setitem(d, "b", 2)
operator.delitem(d, "a")
print("items", d, operator.getitem(d, "b"), operator.call(max, 3, 4), operator.call(dict, a=1))
rows = [("b", 2, "x"), ("a", 2, "y"), ("c", 1, "z")]
print("itemgetter", sorted(rows, key=itemgetter(1, 0)), itemgetter(1)([5, 6]))
print("no items", tried(itemgetter), tried(itemgetter(9), [1]))


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y
        self.me = self

    def moved(self, by, *, times=1):
        return self.x + by * times

    def __matmul__(self, other):
        return "matmul"


p = Point(3, 4)
print("attrgetter", attrgetter("x")(p), attrgetter("me.y", "x")(p), tried(attrgetter("z"), p), tried(attrgetter, 3))
print("methodcaller", methodcaller("moved", 2)(p), methodcaller("moved", 2, times=3)(p), operator.matmul(p, p))
