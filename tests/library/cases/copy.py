# SPDX-License-Identifier: MIT
import copy
from collections import Counter, OrderedDict, defaultdict, deque

inner = [1, 2]
for x in ([inner, 3], {"a": inner}, OrderedDict(a=inner), (inner, 1), {4, 5}, bytearray(b"xy")):
    shallow, deep = copy.copy(x), copy.deepcopy(x)
    print(type(x).__name__, shallow == x, deep == x, shallow is x, deep is x, type(deep) is type(x))
for x in (None, True, 3, 2.5, "s", b"b", (1, 2), range(3), int, len, lambda: 0, ...):
    print(copy.copy(x) is x, copy.deepcopy(x) is x)
d = {"list": inner, "same": inner}
deep = copy.deepcopy(d)
deep["list"].append(9)
print(deep["same"], inner, copy.copy(d)["list"] is inner)
loop = [1]
loop.append(loop)
deep = copy.deepcopy(loop)
print(deep[1] is deep, deep is not loop)
pair = ([], 1)
pair[0].append(pair)
print(copy.deepcopy(pair)[0][0][1])


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


class Own(Point):
    def __copy__(self):
        return Own("copied", self.y)

    def __deepcopy__(self, memo):
        return Own("deep", copy.deepcopy(self.y, memo))


p = Point(1, [2, Point(3, 4)])
p.me = p
shallow, deep = copy.copy(p), copy.deepcopy(p)
print(shallow is not p, shallow.y is p.y, type(shallow).__name__, deep.y is not p.y, deep.y[1].x, deep.me is deep)
o = Own(1, inner)
print(copy.copy(o).x, copy.copy(o).y is inner, copy.deepcopy([o])[0].x, copy.deepcopy(o).y == inner)
d = defaultdict(list, {"a": inner})
print(
    copy.deepcopy(d)["new"],
    copy.deepcopy(d)["a"] is inner,
    copy.copy(d)["a"] is inner,
    type(copy.deepcopy(d)) is defaultdict,
)
q = deque([inner], maxlen=2)
print(
    copy.deepcopy(q),
    copy.deepcopy(q)[0] is inner,
    copy.deepcopy(q).maxlen,
    sorted(copy.deepcopy(Counter("aab")).items()),
)


class Held(list):
    pass


held = Held([inner])
held.name = [1]
deep = copy.deepcopy(held)
print(list(deep), deep[0] is inner, deep.name, deep.name is held.name, copy.copy(held)[0] is inner, type(deep) is Held)
print(issubclass(copy.Error, Exception), copy.error is copy.Error)
