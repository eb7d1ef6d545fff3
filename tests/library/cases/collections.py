# SPDX-License-Identifier: MIT
import collections
import json
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque, namedtuple


def tried(function, *args, **keywords):
    try:
        return function(*args, **keywords)
    except Exception as e:
        return type(e).__name__


d = defaultdict(list)
for word in ("apple", "avocado", "bean", "cherry", "beet"):
    d[word[0]].append(word)
print("defaultdict", sorted(d.items()), len(d), "z" in d, d.get("z"), d["z"], "z" in d)
print("factory", d.default_factory is list, tried(lambda: defaultdict()["x"]), tried(defaultdict, 3))
n = defaultdict(int, {"ab": 1}, cd=2)
n["ab"] += 4
n["ef"] -= 1
print("int", sorted(dict(n).items()), n == {"ab": 5, "cd": 2, "ef": -1}, {"ab": 5, "cd": 2, "ef": -1} == n)
c = n.copy()
c["new"] += 1
print("copy", "new" in n, c["new"], type(c).__name__, isinstance(c, dict), isinstance(c, defaultdict))
print("json", json.loads(json.dumps(n)) == {"ab": 5, "cd": 2, "ef": -1})
nested = defaultdict(lambda: defaultdict(int))
nested["a"]["b"] += 1
print("nested", {key: dict(value) for key, value in nested.items()})
plain = {}
plain.update(n)
print("update", sorted(plain.items()), sorted((lambda **k: k)(**n).items()))

o = OrderedDict([("a", 1), ("b", 2), ("c", 3)])
o.move_to_end("a")
print("move_to_end", list(o.items()))
o.move_to_end("c", last=False)
print("to the start", list(o), tried(o.move_to_end, "x"), len(o), o["c"])
print("popitem", o.popitem(), o.popitem(last=False), list(o), o.popitem(), tried(o.popitem))
one, two = OrderedDict(a=1), OrderedDict([("b", 2), ("a", 1)])
one["b"] = 2
print("order counts", one == two, one == {"b": 2, "a": 1}, one != two, list(reversed(two)), list(two.copy()))

counter = Counter("mississippi")
print("Counter", counter.most_common(2), counter.most_common(), counter["x"], "x" in counter, counter.total())
print("elements", "".join(counter.elements()), list(counter), sum(counter.values()))
counter.update("mmm")
counter.subtract({"i": 1})
print("update", counter["m"], counter["i"], sorted(Counter(a=3, b=1).items()), Counter() == {})
del counter["nothing"]
a, b = Counter(a=3, b=1), Counter(a=1, b=2)
print("arithmetic", [sorted(r.items()) for r in (a + b, a - b, a & b, a | b)], a == Counter(b=1, a=3, c=0))
print("of words", Counter("a b a c a b".split()).most_common(1), sorted(dict(a).items()), isinstance(a, dict))

base, top = {"colour": "red", "user": "guest"}, {"user": "admin"}
chain = ChainMap(top, base)
print("ChainMap", chain["user"], chain["colour"], chain.get("x", 5), len(chain), sorted(chain), "colour" in chain)
chain["colour"] = "blue"
print("writes", top == {"user": "admin", "colour": "blue"}, base["colour"], tried(lambda: chain["none"]))
child = chain.new_child({"user": "child"})
print("child", child["user"], child.parents["user"], len(child.maps), sorted(child.items()), sorted(child.values()))

q = deque()
for i in range(20):
    q.append(i)
q.appendleft(-1)
print("deque", len(q), q[0], q[-1], q.popleft(), q.pop(), list(q)[:3], bool(deque()), 7 in q)
q = deque([1, 2, 3], maxlen=3)
q.append(4)
q.appendleft(0)
print("maxlen", q, q.maxlen, q.extend([7, 8]), list(q), list(deque([1, 2], maxlen=0)))
q = deque("abcde")
q.rotate(2)
print("rotate", list(q), q.rotate(-3), list(q), list(reversed(q)))
q.extendleft("xy")
q.remove("c")
q.insert(1, "!")
print("more", list(q), q.index("x"), q.count("x"), q == deque(q), q == deque("x"), q.copy() == q)
del q[0]
q[0] = "?"
q.reverse()
print("changed", "".join(q), tried(q.remove, "z"), tried(deque().pop), tried(deque().popleft), tried(lambda: q[99]))
q += "12"
print("joined", "".join(q + deque("3")), repr(deque()), repr(deque([1], 2)))


def while_changed():
    for item in q:
        q.append(item)


print("changed in a loop", tried(while_changed))
q.clear()
print("cleared", len(q), list(q))

Point = namedtuple("Point", "x y z", defaults=(0, -1))
p = Point(1)
print("namedtuple", p, Point(1, 2), Point(1, z=5), p.x, p[2], p == (1, 0, -1), (1, 0, -1) == p, len(p), tuple(p))
x, y, z = p
print("unpacked", x, y, z, *p, p._replace(y=7), Point._make([7, 8, 9]), Point._fields, sorted(p._asdict().items()))
print("more", isinstance(p, tuple), isinstance(p, Point), {p: 1}[(1, 0, -1)], p < (2,), max(p), p + (4,), p[1:])
print("defaults", sorted(Point._field_defaults.items()), tried(Point), tried(Point, 1, 2, 3, 4), tried(Point, 1, q=2))
print("wrong", tried(namedtuple, "P", "a a"), tried(namedtuple, "P", "1"), tried(p._replace, q=1))
print("rename", namedtuple("R", ["a", "_b", "a", "c d"], rename=True)._fields, namedtuple("E", "")())
print("all names", namedtuple("Pair", ["left", "right"])("l", "r"), namedtuple("C", "a, b")(1, b=2))


class Named(namedtuple("Base", "first last")):
    def full(self):
        return self.first + " " + self.last


named = Named("Ada", "L")
named.note = "kept"
print(
    "set", tried(setattr, p, "x", 5), tried(setattr, p, "other", 5), tried(setattr, named, "last", 5), named.note, p.x
)
print("subclass", Named("Ada", "L").full(), Named("A", "B") == ("A", "B"))
print("module", sorted(name for name in ("Counter", "deque", "nothing") if hasattr(collections, name)))
