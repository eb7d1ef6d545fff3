# SPDX-License-Identifier: MIT
"""Every way in which a script ends: argv names one."""

import asyncio
import sys


def leave(code):
    print("leaving")
    sys.exit(code)


def ways():
    yield "end", lambda: None
    yield "exit()", sys.exit
    yield "exit(None)", lambda: leave(None)
    yield "exit(text)", lambda: leave("the disk is full")
    yield "exit(tuple)", lambda: leave((1, 2))
    yield "exit(unprintable)", lambda: leave(Unprintable())
    yield "exit(True)", lambda: leave(True)
    yield "raise SystemExit", raises(SystemExit)
    yield "raise SystemExit(3)", raises(SystemExit(3))
    yield "exception", raises(ValueError("no good"))
    yield "own exception", raises(type("Odd", (Exception,), {})("odd"))
    yield "unprintable exception", raises(Unprintable())
    yield "keyboard", raises(KeyboardInterrupt)
    yield "memory", lambda: bytearray(1 << 31)
    yield "memory caught", memory_caught
    yield "recursion", recursion
    yield "recursion caught", recursion_caught
    yield "atexit", lambda: at_exit(lambda: print("at exit"), 5)
    yield "atexit after an exception", atexit_after_an_exception
    yield "atexit that exits", lambda: at_exit(lambda: sys.exit(9), 5)
    yield "atexit that fails", lambda: at_exit(raises(ValueError("late")), 5)
    yield "asyncio", lambda: asyncio.run(coroutine(6))
    yield "asyncio task", lambda: asyncio.run(of_a_task())
    yield "asyncio exception", lambda: asyncio.run(failing())
    yield "finally", lambda: with_finally(4)
    yield "swallowed", swallowed
    yield "no newline", lambda: sys.stdout.write("no newline")


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


def raises(exception):
    def f():
        raise exception

    return f


def memory_caught():
    try:
        bytearray(1 << 31)
    except MemoryError:
        print("caught", len([0] * 1000))


def recursion(depth=0):
    return recursion(depth + 1) + 1


def recursion_caught():
    for _ in range(3):
        try:
            recursion()
        except RuntimeError as e:
            print("caught", e)


def at_exit(f, code):
    sys.atexit(f)
    leave(code)


def atexit_after_an_exception():
    sys.atexit(lambda: print("at exit"))
    raise ValueError("no good")


async def coroutine(code):
    await asyncio.sleep(0)
    leave(code)


async def of_a_task():
    await asyncio.create_task(coroutine(7))


async def failing():
    await asyncio.sleep(0)
    raise ValueError("in a coroutine")


def with_finally(code):
    try:
        leave(code)
    finally:
        print("finally")


def swallowed():
    try:
        leave(5)
    except SystemExit:
        print("swallowed")


way = sys.argv[1]
if way == "code":
    leave(int(sys.argv[2]))
dict(ways())[way]()
print("the end")
