# SPDX-License-Identifier: MIT
"""Pipes and children in asyncio's loop and in select: nothing waits that others wait for, and nothing polls idly."""

import asyncio
import os
import select
import sys
import time

import uio
import vm

EPIPE = 32
POLLHUP = 16


class Counts(uio.IOBase):
    """Is asked each time that the loop looks whether something can be read."""

    def __init__(self):
        self.times = 0

    def ioctl(self, request, flags):
        self.times += 1
        return 0


def streams(r, w):
    return asyncio.StreamReader(vm.reader(r, blocking=False)), asyncio.StreamWriter(vm.writer(w, blocking=False))


async def serve(lines, out):
    """Say each line again, in capitals; the end of them is the end."""
    while line := await lines.readline():
        out.write(line.upper())
        await out.drain()


async def ticks(seen):
    while True:
        seen.append(time.ticks_ms())
        await asyncio.sleep_ms(5)


async def echo():
    """Two children serve in loops of their own while a task of the parent's ticks."""
    seen = []
    ticking = asyncio.create_task(ticks(seen))
    talks = []
    for number in range(2):
        to_child, out = os.pipe()
        back, from_child = os.pipe()
        pid = vm.spawn(child_of_echo, to_child, from_child, out, back)
        os.close(to_child)
        os.close(from_child)
        talks.append(asyncio.create_task(talk(number, pid, *streams(back, out))))
    await asyncio.gather(*talks)
    assert len(seen) > 3
    ticking.cancel()


def child_of_echo(r, w, *others):
    for fd in others:
        os.close(fd)
    asyncio.run(serve(*streams(r, w)))


async def talk(number, pid, lines, out):
    for n in range(20):
        text = "%d says %d %s\n" % (number, n, "word " * (n * n))
        out.write(text.encode())
        await out.drain()
        assert await lines.readline() == text.upper().encode()
    big = b"x" * 150000 + b"\n"  # more than a pipe holds
    reading = asyncio.create_task(lines.readexactly(len(big)))
    out.write(big)
    await out.drain()
    assert await reading == big.upper()
    await out.wait_closed()
    assert await lines.read(-1) == b""
    await lines.wait_closed()
    assert await vm.wait_async(pid) == (pid, 0)


async def ends():
    """Ends of children are waited for, one by one and whichever comes first."""
    slow, quick = vm.spawn(time.sleep, 60), vm.spawn(sys.exit, 5)
    assert await vm.wait_async() == (quick, 5 << 8)
    waiting = asyncio.create_task(vm.wait_async(slow))
    try:
        await asyncio.wait_for(vm.wait_async(slow), 0.03)
        raise AssertionError
    except asyncio.TimeoutError:
        pass
    assert not waiting.done()
    os.kill(slow, 9)
    assert await waiting == (slow, 9)
    try:
        await vm.wait_async(slow)
        raise AssertionError
    except OSError as e:
        assert e.errno == 10  # ECHILD


async def idle():
    """A loop that waits for a child, and for a pipe, sleeps until there is news."""
    counts = Counts()
    r, w = os.pipe()
    lines, _ = streams(r, w)

    async def look():
        yield asyncio.core._io_queue.queue_read(counts)

    looking = asyncio.create_task(look())
    pid = vm.spawn(child_of_idle, w)
    os.close(w)
    assert await lines.readline() == b"late\n"
    assert (await vm.wait_async(pid))[1] == 3 << 8
    looking.cancel()
    print("looked", counts.times < 200)


def child_of_idle(w):
    time.sleep_ms(300)
    os.write(w, b"late\n")
    time.sleep_ms(300)
    sys.exit(3)


def polls():
    """select.poll on both ends: what can be done, and what the other side has given up."""
    r, w = os.pipe()
    reader, writer = vm.reader(r, blocking=False), vm.writer(w, blocking=False)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    assert poll.poll(0) == [] == poll.poll(20)
    writer.write(b"abc")
    assert poll.poll(20000) == [(reader, select.POLLIN)]
    while not (got := reader.read(10)):
        assert poll.poll(20000)
    assert got == b"abc" and poll.poll(0) == []
    both = select.poll()
    both.register(writer, select.POLLOUT)
    assert both.poll(0) == [(writer, select.POLLOUT)]
    while both.poll(50):  # what was read ahead makes room once more
        while writer.write(b"x" * 4096):
            pass
    pid = vm.spawn(takes, r)
    assert both.poll(20000) == [(writer, select.POLLOUT)]
    os.waitpid(pid, 0)
    reader.close()
    while both.poll(20000)[0][1] & POLLHUP == 0:
        pass
    try:
        writer.write(b"x")
        raise AssertionError
    except OSError as e:
        assert e.errno == EPIPE
    writer.close()
    r, w = os.pipe()
    reader = vm.reader(r)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    pid = vm.spawn(time.sleep_ms, 50)  # it has the writing end, too
    os.close(w)
    ready = poll.poll(20000)
    assert ready[0][1] & (select.POLLIN | POLLHUP) and reader.read(1) == b""
    os.waitpid(pid, 0)
    print("polls")


def takes(r):
    taken = 0
    os.set_blocking(r, True)
    while taken < 32768:
        taken += len(os.read(r, 16384))


async def timers():
    """A fork amid tasks and timers: both sides have them all, and each goes on with its own."""
    started = time.ticks_ms()
    done = []

    async def after(ms, name):
        await asyncio.sleep_ms(ms)
        done.append(name)

    event = asyncio.Event()

    async def waits():
        await event.wait()
        done.append("event")

    all_of_them = [asyncio.create_task(after(30 * n, n)) for n in range(5)] + [asyncio.create_task(waits())]
    never = asyncio.create_task(after(3600000, "never"))
    await asyncio.sleep_ms(45)
    r, w = os.pipe()
    pid = os.fork()
    before = list(done)
    event.set()
    await asyncio.gather(*all_of_them)
    assert not never.done() and time.ticks_diff(time.ticks_ms(), started) >= 120
    never.cancel()
    told = repr((sorted(map(str, before)), sorted(map(str, done)))).encode()
    if pid == 0:
        os.write(w, told)
        os._exit(6)
    os.close(w)
    lines = asyncio.StreamReader(vm.reader(r, blocking=False))
    theirs = await lines.read(-1)
    assert theirs == told, (theirs, told)
    assert await vm.wait_async(pid) == (pid, 6 << 8)
    print("timers", done.count("event"), len(done))


async def main():
    await echo()
    print("echo")
    await ends()
    print("ends")
    await idle()
    await timers()


asyncio.run(main())
polls()
print("the end")
