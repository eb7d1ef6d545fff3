# SPDX-License-Identifier: MIT
import enum
import functools
import io
import json
from collections import OrderedDict, defaultdict
from json import dumps


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print(type(e).__name__)


data = {"b": [1, 2.5, None, True, False, []], "a": {"y": "text", "x": {}}, "c": (1, "t")}
print(dumps(data, indent=2, sort_keys=True))
print(
    dumps(data, sort_keys=True),
    dumps(data, sort_keys=True, separators=(",", ":")),
    dumps(data, indent="\t", sort_keys=True),
)
print(
    dumps([1, [2]], indent=0), dumps([], indent=4), dumps({}, indent=4), dumps([1], indent=None), dumps("x", indent=1)
)
print(dumps(['é€😀\x01\x7f"\\\n\r\t\b\f/'], ensure_ascii=True), dumps("é", ensure_ascii=False).encode())
print(dumps([float("inf"), float("-inf"), float("nan"), 1e20, 0.5, -3, 10**30], allow_nan=True))
tried(dumps, float("nan"), allow_nan=False)
print(
    dumps({1: 1}, sort_keys=True),
    dumps({None: 1}, indent=None, sort_keys=True),
    dumps({True: 1}, indent=1),
    dumps({1.5: 2}, indent=1),
)
tried(dumps, {(1, 2): 3}, indent=1)
print(dumps({(1, 2): 3, "a": 4}, skipkeys=True))
tried(dumps, {1, 2}, indent=1)
print(dumps({"s": {3}}, default=list), dumps(object, default=lambda o: "thing"))


class Encoder(json.JSONEncoder):
    def default(self, o):
        return sorted(o) if isinstance(o, set) else super().default(o)


print(
    dumps({2, 1}, cls=Encoder), json.JSONEncoder(indent=1).encode([1]), "".join(json.JSONEncoder().iterencode([1, "a"]))
)
tried(dumps, object(), cls=Encoder)


class Level(enum.IntEnum):
    LOW = 1


class Celsius(float):
    pass


print(dumps({"level": Level.LOW, "more": [Level.LOW, Celsius(1.5), OrderedDict([("z", 1), ("a", 2)])]}, indent=1, sort_keys=False)
      .replace("\n", " ").count("1"))  # fmt: skip
print(
    dumps(OrderedDict([("z", 1), ("a", [])]), indent=2),
    dumps(defaultdict(list, a=1), indent=0),
    dumps(Level.LOW, indent=1),
)
print(dumps([{"a": [[], {}, [1]]}], indent=3))
print(
    dumps({"b": 1, "a": 2}, sort_keys=True, indent=2, separators=(" ,", " =")),
    dumps([1, 2], separators=(";", ":"), indent=1),
)
text = functools.partial(json.dumps, ensure_ascii=True, sort_keys=True)
print(text({"k": "é", "j": "plain"}))
circle = []
circle.append(circle)
tried(dumps, circle, indent=1)
out = io.StringIO()
json.dump({"k": [1]}, out, indent=1)
json.dump([2], out)
print(repr(out.getvalue()))
print(
    json.loads('{"a": {"b": 1}}', object_hook=lambda d: sorted(d.items())),
    json.loads('{"a": 1}', object_pairs_hook=list),
)
print(
    json.load(io.StringIO('[{"a": 1}]'), object_hook=lambda d: "hook"),
    json.loads("[1, 2.5, null]"),
    json.load(io.StringIO("5")),
)
try:
    json.loads("{")
except json.JSONDecodeError as e:
    print(isinstance(e, ValueError), e.doc)
for text in ('{"é": x}', "[1,\n 2, \n  oops, 3]", b'["a", bad, 1]', "x", "", "{", "[1, @", '{"a": ', "[1, 2"):
    try:
        json.loads(text)
    except json.JSONDecodeError as e:
        print(e.pos, e.lineno, e.colno, str(e).partition(": ")[2])
try:
    json.load(io.StringIO("[1"))
except ValueError as e:
    print(type(e).__name__)
tried(json.loads, 5)
print(dumps([1, {"a": 2}]), dumps("x"), dumps([1, 2], separators=(",", ":")))
