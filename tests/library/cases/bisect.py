# SPDX-License-Identifier: MIT
import bisect
from bisect import bisect_left, bisect_right, insort, insort_left, insort_right

a = [1, 3, 3, 3, 7]
for x in (0, 1, 2, 3, 7, 8):
    print(x, bisect_left(a, x), bisect_right(a, x), bisect.bisect(a, x), bisect_left(a, x, 2), bisect_right(a, x, 1, 3))
insort(a, 5)
insort_left(a, 3.0)
insort_right(a, 3.5)
print(a)
rows = [("a", 1), ("b", 3), ("c", 5)]
print(bisect_left(rows, 3, key=lambda r: r[1]), bisect_right(rows, 3, key=lambda r: r[1]))
insort(rows, ("d", 4), key=lambda r: r[1])
insort_left(rows, ("e", 1), key=lambda r: r[1])
print(rows, bisect_left([], 1))
try:
    bisect_left(a, 1, -1)
except ValueError as e:
    print(e)
