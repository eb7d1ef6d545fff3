# SPDX-License-Identifier: MIT
"""Operators as functions."""


def lt(a, b):
    return a < b


def le(a, b):
    return a <= b


def eq(a, b):
    return a == b


def ne(a, b):
    return a != b


def ge(a, b):
    return a >= b


def gt(a, b):
    return a > b


def not_(a):
    return not a


def truth(a):
    return bool(a)


def is_(a, b):
    return a is b


def is_not(a, b):
    return a is not b


def add(a, b):
    return a + b


def and_(a, b):
    return a & b


def floordiv(a, b):
    return a // b


def index(a):
    if isinstance(a, (int, bool)):
        return int(a)
    if not hasattr(a, "__index__"):
        raise TypeError("no integer: " + type(a).__name__)
    return a.__index__()


def inv(a):
    return ~a


invert = inv


def lshift(a, b):
    return a << b


def mod(a, b):
    return a % b


def mul(a, b):
    return a * b


def matmul(a, b):
    return a @ b


def neg(a):
    return -a


def or_(a, b):
    return a | b


def pos(a):
    return +a


def pow(a, b):
    return a**b


def rshift(a, b):
    return a >> b


def sub(a, b):
    return a - b


def truediv(a, b):
    return a / b


def xor(a, b):
    return a ^ b


def iadd(a, b):
    a += b
    return a


def iand(a, b):
    a &= b
    return a


def imul(a, b):
    a *= b
    return a


def ior(a, b):
    a |= b
    return a


def isub(a, b):
    a -= b
    return a


def ixor(a, b):
    a ^= b
    return a


def concat(a, b):
    return a + b


iconcat = iadd


def contains(a, b):
    return b in a


def countOf(a, b):
    return sum(1 for item in a if item is b or item == b)


def indexOf(a, b):
    for i, item in enumerate(a):
        if item is b or item == b:
            return i
    raise ValueError("not in the sequence")


def getitem(a, b):
    return a[b]


def setitem(a, b, c):
    a[b] = c


def delitem(a, b):
    del a[b]


def call(function, *args, **keywords):
    return function(*args, **keywords)


def itemgetter(*items):
    if not items:
        raise TypeError("itemgetter expected at least 1 argument")
    if len(items) == 1:
        return lambda obj: obj[items[0]]
    return lambda obj: tuple([obj[item] for item in items])


def _dotted(obj, name):
    for part in name.split("."):
        obj = getattr(obj, part)
    return obj


def attrgetter(*names):
    if not all(isinstance(name, str) for name in names) or not names:
        raise TypeError("attribute names are strings")
    if len(names) == 1:
        return lambda obj: _dotted(obj, names[0])
    return lambda obj: tuple([_dotted(obj, name) for name in names])


def methodcaller(name, *args, **keywords):
    return lambda obj: getattr(obj, name)(*args, **keywords)
