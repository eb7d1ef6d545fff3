# SPDX-License-Identifier: MIT
import heapq
from heapq import heapify, heappop, heappush, heappushpop, heapreplace, merge, nlargest, nsmallest

heap = [5, 1, 9, 3]
heapify(heap)
heappush(heap, 2)
print([heappop(heap) for _ in range(5)], heap)
heap = [2, 4, 6]
print(heappushpop(heap, 1), heappushpop(heap, 5), heapreplace(heap, 1), sorted(heap), heappushpop([], 3))
for function in (heappop, lambda h: heapreplace(h, 1)):
    try:
        function([])
    except IndexError:
        print("empty")
print(list(merge([1, 4, 7], (2, 5), iter([3, 6, 8, 9]))), list(merge()), list(merge([], [1])))
print(list(merge(["aa", "c"], ["b", "ddd"], key=len)), list(merge([5, 3], [4, 1], reverse=True)))
print(nlargest(3, [5, 1, 9, 3]), nsmallest(2, [5, 1, 9, 3]), nlargest(0, [1]), nsmallest(9, "cab"), nlargest(-1, [1]))
rows = [("a", 2), ("b", 1), ("c", 2), ("d", 3)]
print(nlargest(3, rows, key=lambda r: r[1]), nsmallest(2, rows, key=lambda r: r[1]), heapq.nsmallest(1, []))
