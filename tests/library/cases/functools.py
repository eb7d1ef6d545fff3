# SPDX-License-Identifier: MIT
import functools
from functools import (
    cache,
    cached_property,
    cmp_to_key,
    lru_cache,
    partial,
    partialmethod,
    reduce,
    total_ordering,
    wraps,
)


def tried(function, *args, **keywords):
    try:
        return function(*args, **keywords)
    except Exception as e:
        return type(e).__name__


def f(a, b=2, *args, **keywords):
    return a, b, args, sorted(keywords.items())


p = partial(f, 1, x=3)
print("partial", p(), p(5, 6, x=4, y=7), p.func is f, p.args, p.keywords)
q = partial(p, 9, y=1)
print("nested", q(), q.func is f, q.args, sorted(q.keywords.items()), tried(partial, 3))
print("builtin", partial(sorted, reverse=True)([3, 1, 2]), partial(pow, 2)(5))
print(
    "reduce", reduce(lambda a, b: a * b, range(1, 6)), reduce(lambda a, b: a + b, [], 7), reduce(max, iter([3, 9, 4]))
)
print("reduce nothing", tried(reduce, max, []))


def logged(function):
    @wraps(function)
    def wrapper(*args):
        return "logged", function(*args)

    return wrapper


@logged
def area(w, h):
    return w * h


print("wraps", area(3, 4))
print("wraps names", area.__name__)


class Caller:
    def __call__(self):
        return "called"


caller = functools.update_wrapper(Caller(), f)
print("update_wrapper", caller(), caller.__name__, caller.__wrapped__ is f)

calls = []


@lru_cache(maxsize=2)
def square(n, plus=0):
    calls.append((n, plus))
    return n * n + plus


print("lru", [square(n) for n in (1, 2, 1, 3, 2, 1)], calls)
print("info", square.cache_info(), square.cache_info().hits)
print("keywords", square(5, plus=1), square(5, plus=1), square.cache_info(), square.cache_parameters())
square.cache_clear()
print("clear", square.cache_info(), tried(square, []), square.__wrapped__(4))


@lru_cache
def bare(n):
    return n


@lru_cache(maxsize=None, typed=True)
def typed(n):
    return type(n).__name__


print("bare", bare(1), bare(1), bare.cache_info())
print("typed", typed(1), typed(1.0), typed(1), typed.cache_info())
print("wrong", tried(lru_cache, "x"))


@cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


print("fib", fib(60), fib.cache_info())


@lru_cache(maxsize=0)
def never(n):
    return n


print("never", never(1), never(1), never.cache_info())


class Disk:
    def __init__(self, size):
        self.size = size
        self.looked = 0

    @cached_property
    def blocks(self):
        self.looked += 1
        return self.size // 512

    @lru_cache(maxsize=8)
    def part(self, n):
        self.looked += 1
        return self.size // n

    def read(self, at, count=1):
        return self.size, at, count

    first = partialmethod(read, 0)
    pair = partialmethod(read, count=2)


disk, other = Disk(5120), Disk(1024)
print("cached_property", disk.blocks, disk.blocks, disk.looked, other.blocks)
disk.blocks = 4
print("set", disk.blocks)
del disk.blocks
print("deleted", disk.blocks, disk.looked)
print("method", disk.part(2), disk.part(2), other.part(2), disk.looked)
print("partialmethod", disk.first(), disk.first(count=3), disk.pair(7))

words = ["pear", "fig", "banana", "kiwi"]
print("cmp_to_key", sorted(words, key=cmp_to_key(lambda a, b: len(a) - len(b) or (a > b) - (a < b))))
K = cmp_to_key(lambda a, b: a - b)
print("keys", K(1) < K(2), K(1) > K(2), K(3) == K(3), K(3) <= K(2), K(3) >= K(2))


@total_ordering
class Version:
    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return self.n == other.n

    def __lt__(self, other):
        return self.n < other.n


@total_ordering
class Backwards:
    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return self.n == other.n

    def __ge__(self, other):
        return self.n <= other.n


for kind in (Version, Backwards):
    one, two = kind(1), kind(2)
    print(kind.__name__, one < two, one <= two, one > two, one >= two, one <= kind(1), one >= kind(1), one > kind(1))
print("no root", tried(total_ordering, Caller))


@functools.singledispatch
def show(value):
    return "thing"


@show.register(int)
def show_int(value):
    return "int"


class Base:
    pass


class Derived(Base):
    pass


class Third(Derived):
    pass


show.register(list, lambda value: "list")
show.register(Base, lambda value: "base")
print("dispatch", [show(x) for x in (1, [], "s", Base(), Third(), 2.5)], show_int(3), tried(show))
show.register(Derived, lambda value: "derived")
print("nearest", show(Third()), show(Base()), show.dispatch(Derived)(0), sorted(c.__name__ for c in show.registry))
