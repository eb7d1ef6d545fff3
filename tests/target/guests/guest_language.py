# SPDX-License-Identifier: MIT
"""What MicroPython's modules promise and 1.25 as it comes does not keep; guest_same.py is what CPython prints too."""

import array
import asyncio
import gc
import io
import random
import select
import time
from collections import deque

import machine
import ussl
import usys

print("names", usys.platform, ussl.SSLContext.__name__)


def tried(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as e:
        return type(e).__name__, str(e)
    return "fine", ""


def spread(name, numbers, low, high):
    """All within bounds, and in each eighth of the range: 400 numbers miss one once in 10**22 times."""
    eighths = {(n - low) * 8 // (high - low) for n in numbers}
    print("spread", name, all(low <= n < high for n in numbers), len(eighths))


N = range(400)
for bits in (8, 31, 32, 33, 40, 48, 62):
    for more in (-1, 0, 1):
        top = (1 << bits) + more
        spread("randrange", [random.randrange(top) for _ in N], 0, top)
spread("randint", [random.randint(0, 0xFFFFFFFF) for _ in N], 0, 1 << 32)
spread("signed", [random.randrange(-(1 << 62), 1 << 62) for _ in N], -(1 << 62), 1 << 62)
spread("words", [random.randint(-(1 << 63) + 1, (1 << 63) - 1) for _ in N], -(1 << 63), 1 << 63)
steps = [random.randrange(5, 1 << 40, 1 << 35) for _ in N]
spread("step", steps, 5, 1 << 40)
print("steps", {(n - 5) % (1 << 35) for n in steps})
print("down", {random.randrange(10, 0, -3) for _ in N} == {10, 7, 4, 1}, tried(random.randrange, 3, 3)[0])


class Long:
    def __len__(self):
        return 1 << 61

    def __iter__(self):
        return iter((1.5, 2.5))


class Short(Long):
    def __len__(self):
        return 1


for name, make in (
    ("list", lambda: [None] * (1 << 62)),
    ("pair", lambda: [1, 2] * (1 << 60)),
    ("tuple", lambda: (1,) * (1 << 61)),
    ("str", lambda: "12345678" * (1 << 62)),
    ("bytes", lambda: b"1234" * ((1 << 62) - 1)),
    ("deque", lambda: deque([0], (1 << 61) - 1)),
    ("array", lambda: array.array("d", range(1 << 61))),
    ("len", lambda: array.array("d", Long())),
):
    print("huge", name, tried(make)[0])
print("huge", list(array.array("d", Short())), [] * (1 << 62), "" * (1 << 62) == "", [1, 2] * 2, (3,) * 3)

print(
    "timer",
    tried(machine.Timer, period=-5),
    tried(machine.Timer, period=1 << 40)[1],
    tried(machine.Timer, period=5, tick_hz=0),
)
print("timer", *(tried(machine.Timer, freq=hz)[1] for hz in (0, -2.5, 1e-9)))
print("rtc", tried(machine.RTC().datetime, (1999, 1, 1, 0, 0, 0, 0, 0)))
print("mktime", time.mktime((2000, 1, 1 + 146097 * 10**7, 0, 0, 0, 0, 0)) > 10**17)
start = time.ticks_ms()
time.sleep_ms(-5)
time.sleep_us(-5)
infinite = [tried(time.sleep, float(x))[0] for x in ("inf", "-inf")]
print("sleep", tried(time.sleep, 1e10), infinite, time.ticks_diff(time.ticks_ms(), start) < 5000)


class Drip(io.IOBase):
    """A stream that is always ready, and gives what it has piece by piece, None for a piece that is not there yet."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.written = b""

    def ioctl(self, request, arg):
        return arg if request == 3 else 0

    def read(self, n=-1):
        if not self.pieces:
            return None
        piece = self.pieces.pop(0)
        if piece is None or n < 0:
            return piece
        if len(piece) > n:
            self.pieces.insert(0, piece[n:])
        return piece[:n]

    def readline(self):
        return self.pieces.pop(0) if self.pieces else None

    def readinto(self, buf):
        piece = self.read(len(buf))
        if piece is not None:
            buf[: len(piece)] = piece
            return len(piece)
        return None

    def write(self, buf):
        self.written += bytes(buf[:2])
        return min(len(buf), 2)


async def cut(aw):
    """As wait_for does whose time is up before the rest has come."""
    try:
        return "whole", await asyncio.wait_for_ms(aw, 20)
    except asyncio.TimeoutError:
        return "cut"


async def streams():
    s = asyncio.StreamReader(Drip(b"ab", b"cd"))
    print("readexactly", await cut(s.readexactly(6)), await s.readexactly(3), await s.read(5))
    s = asyncio.StreamReader(Drip(b"one ", b"line\n"))
    task = asyncio.create_task(s.readexactly(20))
    await asyncio.sleep_ms(5)
    task.cancel()
    await asyncio.sleep_ms(0)
    print("readline", await s.readline())
    s = asyncio.StreamReader(Drip(b"no end"))
    buf = bytearray(4)
    print("line, readinto", await cut(s.readline()), await s.readinto(buf), buf, await s.read(9))
    s = asyncio.StreamReader(Drip(b"all", b" of", b""))
    print("read", await s.read())
    s = asyncio.StreamReader(Drip(b"par", b""))
    try:
        await s.readexactly(5)
    except EOFError:
        print("end", await s.read(5))

    async def late():
        time.sleep_ms(40)  # without a look at the loop: the time is up when this ends
        return b"late"

    print("late", await cut(late()))
    card = Drip()
    s = asyncio.StreamWriter(card)
    s.write(b"0123456789")
    task = asyncio.create_task(s.drain())
    await asyncio.sleep_ms(0)
    await asyncio.sleep_ms(0)
    task.cancel()
    await asyncio.sleep_ms(0)
    s.write(b"ab")
    await s.drain()
    print("drain", card.written)


def unpollable():
    """What a poll object refuses it does not keep."""
    poll = select.poll()
    try:
        poll.register(object())
    except OSError:
        print("poll refuses", poll.poll(0))


def bare(a):
    return gc.mem_alloc()


def crowded(a):
    b = c = d = e = f = g = h = i = j = k = m = n = a
    return gc.mem_alloc() + b + c + d + e + f + g + h + i + j + k + m + n


def deep(a):
    b = c = d = e = f = g = h = i = j = k = m = n = a
    return deep(a + 1) + b + c + d + e + f + g + h + i + j + k + m + n


def frames():
    """A call of a function with many variables takes nothing of the heap; too many of them end as others do."""
    gc.disable()
    same = crowded(0) == bare(0)
    gc.enable()
    try:
        deep(0)
    except RuntimeError as e:
        print("frames", same, e)


asyncio.run(streams())
unpollable()
frames()
print("the end")
