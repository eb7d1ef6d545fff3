# SPDX-License-Identifier: MIT
"""CPython's itertools, made of generators."""


def count(start=0, step=1):
    while True:
        yield start
        start += step


def cycle(iterable):
    seen = []
    for item in iterable:
        seen.append(item)
        yield item
    while seen:
        yield from seen


def repeat(object, times=None):
    while times is None or times > 0:
        yield object
        if times is not None:
            times -= 1


def accumulate(iterable, func=None, *, initial=None):
    iterator = iter(iterable)
    total = initial
    if initial is None:
        try:
            total = next(iterator)
        except StopIteration:
            return
    yield total
    for item in iterator:
        total = total + item if func is None else func(total, item)
        yield total


def batched(iterable, n, *, strict=False):
    if n < 1:
        raise ValueError("n must be at least one")
    iterator = iter(iterable)
    while batch := tuple(islice(iterator, n)):
        if strict and len(batch) != n:
            raise ValueError("batched(): incomplete batch")
        yield batch


def _chained(iterables):
    for iterable in iterables:
        yield from iterable


class chain:
    def __new__(cls, *iterables):
        return _chained(iterables)

    @staticmethod
    def from_iterable(iterable):
        return _chained(iterable)


def compress(data, selectors):
    for item, wanted in zip(data, selectors):
        if wanted:
            yield item


def dropwhile(predicate, iterable):
    iterator = iter(iterable)
    for item in iterator:
        if not predicate(item):
            yield item
            break
    yield from iterator


def takewhile(predicate, iterable):
    for item in iterable:
        if not predicate(item):
            break
        yield item


def filterfalse(predicate, iterable):
    for item in iterable:
        if not (item if predicate is None else predicate(item)):
            yield item


class groupby:
    """A group ends when the next one is asked for, as the iterator is shared."""

    def __init__(self, iterable, key=None):
        self._iterator = iter(iterable)
        self._of = key
        self._wanted = self._key = self._item = self  # equal to no key
        self._group = None

    def __iter__(self):
        return self

    def __next__(self):
        self._group = group = object()
        while self._key is self._wanted or self._key == self._wanted:
            self._step()
        self._wanted = self._key
        return self._key, self._members(self._wanted, group)

    def _step(self):
        self._item = next(self._iterator)
        self._key = self._item if self._of is None else self._of(self._item)

    def _members(self, key, group):
        while self._group is group and self._key == key:
            yield self._item
            try:
                self._step()
            except StopIteration:
                self._group = None


def islice(iterable, *bounds):
    if not 1 <= len(bounds) <= 3:
        raise TypeError("islice() takes 2 to 4 arguments")
    start, stop, step = (0,) + bounds + (1,) if len(bounds) == 1 else (bounds + (1,))[:3]
    start = 0 if start is None else start
    step = 1 if step is None else step
    if start < 0 or step < 1 or (stop is not None and stop < 0):
        raise ValueError("islice() wants None or integers, 0 <= start and stop, 1 <= step")
    return _sliced(iter(iterable), start, stop, step)


def _sliced(iterator, start, stop, step):
    at = 0
    while stop is None or at < max(start, stop):
        try:
            item = next(iterator)
        except StopIteration:
            return
        if at == start and (stop is None or at < stop):
            yield item
            start += step
            if stop is not None and start > stop:
                start = stop
        at += 1


def pairwise(iterable):
    iterator = iter(iterable)
    try:
        last = next(iterator)
    except StopIteration:
        return
    for item in iterator:
        yield last, item
        last = item


def starmap(function, iterable):
    for args in iterable:
        yield function(*args)


def tee(iterable, n=2):
    if n < 0:
        raise ValueError("n must be >= 0")
    iterator = iter(iterable)
    waiting = [[] for _ in range(n)]
    return tuple(_teed(iterator, mine, waiting) for mine in waiting)


def _teed(iterator, mine, waiting):
    while True:
        if not mine:
            try:
                item = next(iterator)
            except StopIteration:
                return
            for queue in waiting:
                queue.append(item)
        yield mine.pop(0)


def zip_longest(*iterables, fillvalue=None):
    iterators = [iter(iterable) for iterable in iterables]
    active = len(iterators)
    while active:
        row = []
        for i, iterator in enumerate(iterators):
            try:
                row.append(fillvalue if iterator is None else next(iterator))
            except StopIteration:
                active -= 1
                iterators[i] = None
                row.append(fillvalue)
        if active:
            yield tuple(row)


def product(*iterables, repeat=1):
    pools = [tuple(pool) for pool in iterables] * repeat
    at = [0] * len(pools)
    if not all(pools):
        return
    while True:
        yield tuple([pool[i] for pool, i in zip(pools, at)])
        for place in range(len(pools) - 1, -1, -1):
            at[place] += 1
            if at[place] < len(pools[place]):
                break
            at[place] = 0
        else:
            return


def _chosen(pool, r, first, start, again):
    """Tuples of r more items, each from the one before on (again: it included)."""
    if r == 0:
        yield first
        return
    for i in range(start, len(pool) if again else len(pool) - r + 1):
        yield from _chosen(pool, r - 1, first + (pool[i],), i if again else i + 1, again)


def combinations(iterable, r):
    if r < 0:
        raise ValueError("r must be non-negative")
    return _chosen(tuple(iterable), r, (), 0, False)


def combinations_with_replacement(iterable, r):
    if r < 0:
        raise ValueError("r must be non-negative")
    return _chosen(tuple(iterable), r, (), 0, True)


def _ordered(pool, r, first):
    if r == 0:
        yield first
        return
    for i, item in enumerate(pool):
        yield from _ordered(pool[:i] + pool[i + 1 :], r - 1, first + (item,))


def permutations(iterable, r=None):
    pool = tuple(iterable)
    if r is None:
        r = len(pool)
    if r < 0:
        raise ValueError("r must be non-negative")
    return _ordered(pool, r, ()) if r <= len(pool) else iter(())
