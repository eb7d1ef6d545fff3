# SPDX-License-Identifier: MIT
# Loops of bytecode, each timed; one line of JSON with microseconds.
import json
import time


def arithmetic():
    total = 0
    for i in range(1500000):
        total = (total + i * 3) & 0xFFFFF
    return total


def calls():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    return fib(24)


def objects():
    class Point:
        def __init__(self, x):
            self.x = x

        def moved(self, by):
            return Point(self.x + by)

    p = Point(0)
    for _ in range(150000):
        p = p.moved(1)
    return p.x


def containers():
    table = {}
    for i in range(60000):
        table[i % 1000] = [i, table.get(i % 997)] if i % 50 == 0 else i
    return len(table) + sum(sorted([i * 7919 % 20011 for i in range(20000)])[:10])


def text():
    n = 0
    for i in range(60000):
        n += len(("item %d" % i).upper().split())
    return n


def floats():
    x = 0.5
    for i in range(600000):
        x = x * 1.0000001 + 0.25 / (i + 1.0)
    return int(x)


if hasattr(time, "ticks_us"):
    now, since = time.ticks_us, time.ticks_diff
else:  # CPython

    def now():
        return time.perf_counter_ns() // 1000

    def since(end, start):
        return end - start


LOOPS = (arithmetic, calls, objects, containers, text, floats)
result = {}
for loop in LOOPS:
    start = now()
    check = loop()
    result[loop.__name__ if hasattr(loop, "__name__") else "arithmetic"] = [since(now(), start), check]
print("cpu:", json.dumps(result))
