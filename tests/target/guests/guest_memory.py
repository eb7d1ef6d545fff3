# SPDX-License-Identifier: MIT
"""Memory to its limits: argv names what to do."""

import gc
import random
import sys

import micropython

import floe


def grow():
    """Take all RAM in pieces, give it back, take it again; how much there was, in per mille of RAM."""
    ram = floe.mem_info()["ram"]
    size = ram // 256
    reached = []
    for _ in range(2):
        pieces = []
        try:
            while True:
                pieces.append(bytearray(size))
        except MemoryError:
            pass
        reached.append(len(pieces) * size * 1000 // ram)
        check(pieces)
        pieces = None
        gc.collect()
        print("gc", floe.mem_info()["gc_used"])
    print("reached", *reached)


def check(pieces):
    for i, piece in enumerate(pieces):
        assert not any(piece[:64]) and not any(piece[-64:]), "not zeroed"
        piece[0] = i & 255
        piece[-1] = ~i & 255
    for i, piece in enumerate(pieces):
        assert piece[0] == i & 255 and piece[-1] == ~i & 255, "pieces overlap"


def huge():
    """Too much at once, often; and life goes on, with a buffer for exceptions that was replaced."""
    for size in (1000, 0, 100):
        micropython.alloc_emergency_exception_buf(size)
    before = gc.mem_alloc()
    for size in (1 << 28, 1 << 31, 1 << 40, 1 << 59):
        for make in (bytearray, lambda n: [None] * n, lambda n: b"x" * n):
            try:
                make(size)
            except (MemoryError, OverflowError):
                continue
            print("took", size)
    gc.collect()
    print("left over", gc.mem_alloc() - before < 4096)


def churn():
    """Objects of all sizes that come and go, each with its own content."""
    random.seed(1)
    live = {}
    for i in range(6000):
        key = random.randrange(300)
        if key in live:
            value, data = live.pop(key)
            assert all(data[k] == value for k in range(0, len(data), len(data) // 16 + 1)), "changed"
        value = i & 255
        live[key] = (value, bytes([value]) * random.choice((1, 15, 16, 17, 100, 3000, 70000)))
    print("kept", len(live) > 100)


def one_large():
    """One piece that is larger than the heap at start."""
    info = floe.mem_info()
    size = info["ram"] * 3 // 8
    piece = bytearray(size)
    piece[-1] = 7
    print("larger", size > info["gc_total"], piece[-1])


def c_heap():
    """The C heap and the GC heap each keep to their own end."""
    info = floe.mem_info()
    print("sane", 0 <= info["c_used"] <= info["c_heap"] and info["gc_used"] <= info["gc_total"] < info["ram"])


globals()[sys.argv[1]]()
print("the end")
