# SPDX-License-Identifier: MIT
import itertools
from itertools import chain, count, cycle, groupby, islice, product, repeat, tee


def tried(function, *args, **keywords):
    try:
        return list(function(*args, **keywords))
    except Exception as e:
        return type(e).__name__


def first(n, iterable):
    return list(islice(iterable, n))


print("count", first(3, count()), first(3, count(5, -2)), first(3, count(step=0.5)))
print("cycle", first(7, cycle("abc")), list(cycle([])))
print("repeat", list(repeat("x", 3)), first(2, repeat(1)), list(repeat(0, times=2)), list(repeat(1, -4)))
print("accumulate", list(itertools.accumulate([1, 2, 3, 4])), list(itertools.accumulate([3, 1, 4], max)))
print("initial", list(itertools.accumulate([1, 2], initial=10)), list(itertools.accumulate([])))
print("chain", list(chain("ab", [1], ())), list(chain.from_iterable(["xy", "z"])), list(chain()))
print("compress", list(itertools.compress("ABCDEF", [1, 0, 1, 0, 1, 1])))
print("dropwhile", list(itertools.dropwhile(lambda x: x < 5, [1, 4, 6, 4, 1])), list(itertools.dropwhile(bool, [1])))
print("takewhile", list(itertools.takewhile(lambda x: x < 5, [1, 4, 6, 4, 1])))
print(
    "filterfalse", list(itertools.filterfalse(lambda x: x % 2, range(6))), list(itertools.filterfalse(None, [0, 1, ""]))
)
print("groupby", [(key, list(group)) for key, group in groupby("AAAABBBCCDAABBB")])
print("by key", [(key, list(group)) for key, group in groupby(range(10), lambda n: n // 4)])
print("keys only", [key for key, group in groupby("AABBA")], list(groupby([])))
groups = groupby("aab")
key, group = next(groups)
print("left behind", key, next(group), next(groups)[0], list(group))
print(
    "islice", [list(islice("ABCDEFG", *args)) for args in ((2,), (2, 4), (2, None), (0, None, 2), (None, 5), (1, 6, 3))]
)
print("islice none", list(islice([], 3)), list(islice("abc", 0)), list(islice("abc", 5, 9)), list(islice("abc", 2, 1)))
source = iter(range(10))
print("islice takes", list(islice(source, 1, 6, 3)), next(source))
source = iter(range(10))
print("islice skips", list(islice(source, 3, 3)), next(source))
print("islice wrong", tried(islice, "abc", -1), tried(islice, "abc", 0, 3, 0), tried(islice, "abc"))
print("pairwise", list(itertools.pairwise("ABCD")), list(itertools.pairwise("A")), list(itertools.pairwise("")))
print("starmap", list(itertools.starmap(pow, [(2, 5), (3, 2)])))
one, two = tee("abc")
print("tee", next(one), next(one), list(two), list(one), [list(t) for t in tee([1, 2], 3)], tee([], 0))
print("zip_longest", list(itertools.zip_longest("ABC", "x", fillvalue="-")), list(itertools.zip_longest([1], [])))
print("zip nothing", list(itertools.zip_longest()), list(itertools.zip_longest([], [])))
print("product", list(product("AB", [1, 2])), list(product([0, 1], repeat=2)), list(product()), list(product("a", [])))
print("product repeat", len(list(product("ab", "cd", repeat=2))), list(product("ab", repeat=0)))
for name in ("combinations", "combinations_with_replacement", "permutations"):
    function = getattr(itertools, name)
    print(name, [list(function("ABC", r)) for r in range(5)], tried(function, "AB", -1))
print("permutations", list(itertools.permutations(range(3)))[::2], len(list(itertools.permutations("abcd"))))
