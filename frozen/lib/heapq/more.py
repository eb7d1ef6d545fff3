# SPDX-License-Identifier: MIT
"""What MicroPython's heapq lacks."""

from uheapq import heappop, heappush


def heappushpop(heap, item):
    if heap and heap[0] < item:
        item = heapreplace(heap, item)
    return item


def heapreplace(heap, item):
    smallest = heappop(heap)
    heappush(heap, item)
    return smallest


class _Reversed:
    """Compares the other way round."""

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return other.value < self.value

    def __gt__(self, other):
        return other.value > self.value

    def __eq__(self, other):
        return self.value == other.value


def merge(*iterables, key=None, reverse=False):
    heap = []

    def push(number, iterator):
        try:
            item = next(iterator)
        except StopIteration:
            return
        value = item if key is None else key(item)
        heappush(heap, (_Reversed(value) if reverse else value, number, item, iterator))

    for number, iterable in enumerate(iterables):
        push(number, iter(iterable))
    while heap:
        _, number, item, iterator = heappop(heap)
        yield item
        push(number, iterator)


def nlargest(n, iterable, key=None):
    found = [(item if key is None else key(item), -i, item) for i, item in enumerate(iterable)]
    return [item for _, _, item in sorted(found, reverse=True)[: max(n, 0)]]


def nsmallest(n, iterable, key=None):
    found = [(item if key is None else key(item), i, item) for i, item in enumerate(iterable)]
    return [item for _, _, item in sorted(found)[: max(n, 0)]]
