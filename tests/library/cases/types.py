# SPDX-License-Identifier: MIT
import sys
import types
from types import MappingProxyType, SimpleNamespace

n = SimpleNamespace(b=2, a=1)
n.c = [3]
print(n == SimpleNamespace(a=1, b=2, c=[3]), n == SimpleNamespace(), n != 3, n.a, hasattr(n, "z"))
print(SimpleNamespace(x=1), SimpleNamespace())
del n.a
print(hasattr(n, "a"))


def plain():
    pass


def generates():
    yield


def outer():
    x = 1
    return lambda: x


class C:
    def method(self):
        pass


for thing in (plain, generates, outer(), lambda: 0):
    print(
        isinstance(thing, types.FunctionType), isinstance(thing, types.LambdaType), isinstance(thing, types.MethodType)
    )
print(isinstance(C().method, types.MethodType), isinstance(C().method, types.FunctionType))
print(isinstance(len, types.BuiltinFunctionType), isinstance(print, types.BuiltinFunctionType))
print(isinstance(plain, types.BuiltinFunctionType), isinstance(3, types.FunctionType))
print(isinstance(generates(), types.GeneratorType), isinstance(generates, types.GeneratorType))
print(isinstance(sys, types.ModuleType), type(None) is types.NoneType)
print(issubclass(types.CoroutineType, object))
d = {"a": 1}
view = MappingProxyType(d)
d["b"] = 2
print(view["b"], len(view), "a" in view, sorted(view), view.get("z", 3), sorted(view.items()), view == d)
print(sorted(view.keys()), sorted(view.values()), view.copy() == d, MappingProxyType({"k": 0}))
try:
    view["c"] = 1
except TypeError:
    print("read only")
