# SPDX-License-Identifier: MIT
"""VMs that beget VMs, by the names of POSIX; what to do is in sys.argv[1]."""

import asyncio
import os
import select
import struct
import sys
import time

import machine
import vm

ESRCH, EBADF, ECHILD, EAGAIN, EINVAL, EPIPE = 3, 9, 10, 11, 22, 32  # of which module errno has not all


def error(function, *args):
    """The number of the OSError that it raises; 0: none."""
    try:
        function(*args)
    except OSError as e:
        return e.errno
    return 0


def ends(pid):
    """How a child ends: its exit code, or minus the signal's number."""
    got, status = os.waitpid(pid, 0)
    assert got == pid, (got, pid)
    assert os.WIFSIGNALED(status) == (os.waitstatus_to_exitcode(status) < 0)
    return os.waitstatus_to_exitcode(status)


def eventually(condition):
    deadline = time.ticks_add(time.ticks_ms(), 20000)
    while not (holds := condition()) and time.ticks_diff(deadline, time.ticks_ms()) > 0:
        time.sleep_ms(10)
    return holds


def read_all(fd):
    parts = []
    while part := os.read(fd, 16384):
        parts.append(part)
    return b"".join(parts)


# ---- twice -----------------------------------------------------------------------------------------------


def twice():
    """fork() returns twice; all of Python's state is there in both, and then each has its own."""
    seen = []
    for name in ("b1", "b2"):
        vm.before_fork(lambda name=name: seen.append(name))
    for name in ("a1", "a2"):
        vm.after_fork(lambda name=name: seen.append(name))
    assert os.getpid() == 1 and os.getppid() == 0
    started = time.ticks_ms()
    shared = {"n": 1}
    pid = os.fork()
    if pid == 0:
        shared["n"] += 1
        print("child", os.getpid(), os.getppid(), shared["n"], seen)
        late = time.ticks_diff(time.ticks_ms(), started)
        assert 0 <= late < 30000, late
        assert error(os.waitpid, -1, 0) == ECHILD
        grandchild = os.fork()
        if grandchild == 0:
            print("grandchild", os.getpid(), os.getppid())
            sys.exit(9)
        print("grandchild ended", ends(grandchild))
        vm.spawn(time.sleep_ms, 500)  # an orphan, soon
        os._exit(7)
    shared["n"] += 10
    print("parent", os.getpid(), shared["n"], seen)
    assert ends(pid) == 7
    heard = eventually(lambda: error(os.waitpid, 4, os.WNOHANG) == 0)  # of an orphan, by the family's first VM
    print("orphan", heard)
    assert error(os.wait) == error(os.waitpid, 99, os.WNOHANG) == ECHILD
    codes()
    signals()


def codes():
    assert [ends(vm.spawn(sys.exit, code)) for code in (None, 0, 5, "no")] == [0, 0, 5, 1]
    assert ends(vm.spawn(lambda n: 1 // n, 0)) == 1
    pid = vm.spawn(time.sleep, 60)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0) == os.waitpid(-1, os.WNOHANG)
    assert error(os.kill, pid, 0) == 0
    os.kill(pid, 9)
    assert ends(pid) == -9
    assert error(os.kill, pid, 0) == ESRCH


def signals():
    """SIGTERM and SIGINT are asked of the script."""

    def tidy():
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            sys.exit(3)

    for number in (2, 15):
        pid = vm.spawn(tidy)
        os.kill(pid, number)
        assert ends(pid) in (3, 1)  # 1: it came before the try
    assert error(os.kill, 1, 10) == error(os.kill, 0, 9) == EINVAL


# ---- random numbers --------------------------------------------------------------------------------------


def draws():
    """No two VMs draw the same bytes, nor one of them twice."""
    readers = []
    os.urandom(8)
    for _ in range(3):
        r, w = os.pipe()
        if os.fork() == 0:
            for _ in range(350):
                os.write(w, os.urandom(8))
            os._exit(0)
        os.close(w)
        readers.append(r)
    drawn = [os.urandom(8) for _ in range(350)]
    for r in readers:
        text = read_all(r)
        drawn += [text[at : at + 8] for at in range(0, len(text), 8)]
    assert [os.wait()[1] for _ in readers] == [0, 0, 0]
    print("drawn", len(drawn), "different", len(set(drawn)))


# ---- pipes -----------------------------------------------------------------------------------------------


def pipes():
    edges()
    echo()
    writers()
    draws()
    asyncio.run(tasks())


def edges():
    r, w = os.pipe()
    assert (r, w) == (100, 101)
    assert os.write(w, b"abc") == 3 and os.read(r, 2) == b"ab" and os.read(r, 100) == b"c"
    assert error(os.read, w, 1) == error(os.write, r, b"x") == error(os.close, 99) == EBADF
    os.set_blocking(r, False)
    assert not os.get_blocking(r) and os.get_blocking(w)
    assert error(os.read, r, 1) == EAGAIN
    os.close(w)
    os.close(r)
    r, w = os.pipe()
    os.set_blocking(w, False)
    written = 0
    while not error(os.write, w, bytes(4096)):
        written += 4096
    print("fits", written)
    os.close(w)
    assert len(read_all(r)) == written
    os.close(r)
    r, w = os.pipe()
    os.close(r)
    assert eventually(lambda: error(os.write, w, b"x") == EPIPE)
    os.close(w)
    assert error(vm.writer, w) == EBADF


def echo():
    """300,000 bytes there and back, both ways at once, polled; the end is heard on both sides."""
    to_child, out = os.pipe()
    back, from_child = os.pipe()
    if os.fork() == 0:
        os.close(out)
        os.close(back)
        while part := os.read(to_child, 7000):
            os.write(from_child, part)
        os._exit(4)
    os.close(to_child)
    os.close(from_child)
    data = os.urandom(1000) * 300
    reader, writer = vm.reader(back), vm.writer(out)
    for end in (reader, writer):
        end.setblocking(False)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(writer, select.POLLOUT)
    got, sent = b"", 0
    while len(got) < len(data):
        ready = poll.poll(20000)
        assert ready
        for end, _ in ready:
            if end is reader:
                got += reader.read(50000) or b""
            elif sent < len(data):
                sent += writer.write(memoryview(data)[sent : sent + 30000]) or 0
                if sent == len(data):
                    poll.unregister(writer)
                    writer.close()
    assert got == data
    reader.setblocking(True)
    assert reader.read() == b""
    reader.close()
    assert os.wait()[1] == 4 << 8
    print("echoed", len(got))


def writers():
    """Messages of several VMs on one pipe arrive whole, each VM's in order."""
    r, w = os.pipe()
    pids = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            for i in range(100):
                size = int.from_bytes(os.urandom(2), "little") % 1500
                os.write(w, struct.pack("<HHH", number, i, size) + bytes([(number + i) % 256]) * size)
            os._exit(0)
        pids.append(pid)
    os.close(w)
    stream = vm.reader(r)
    upto = [0, 0, 0]
    while head := stream.read(6):
        number, i, size = struct.unpack("<HHH", head)
        assert i == upto[number]
        upto[number] += 1
        assert stream.read(size) == bytes([(number + i) % 256]) * size
    assert [ends(pid) for pid in pids] == [0, 0, 0]
    stream.close()
    print("messages", upto)


async def tasks():
    """The loop's tasks are the parent's copy, a waiting reader among them; each side goes on with its own."""
    r, w = os.pipe()
    done = []

    async def ticks():
        for i in range(3):
            await asyncio.sleep_ms(20)
            done.append(i)

    end = vm.reader(r)
    end.setblocking(False)
    lines = asyncio.StreamReader(end)
    line, ticking = asyncio.create_task(lines.readline()), asyncio.create_task(ticks())
    await asyncio.sleep_ms(10)
    pid = os.fork()
    if pid == 0:
        line.cancel()
        await ticking
        out = asyncio.StreamWriter(vm.writer(w))
        out.write(b"child %d\nrest" % len(done))
        await out.drain()
        os._exit(0)
    os.close(w)
    assert await line == b"child 3\n"
    assert await lines.read(-1) == b"rest"
    await ticking
    assert done == [0, 1, 2] and ends(pid) == 0
    print("tasks")
    await timers()


async def timers():
    """What became due while the VM stood still comes afterwards, in both and once."""
    fired = []

    async def sleep():
        await asyncio.sleep_ms(5)
        fired.append("task")

    async def fires():
        for _ in range(1000):
            if len(fired) == 3:
                break
            await asyncio.sleep_ms(10)
        await asyncio.sleep_ms(50)  # nothing comes twice
        return sorted(fired) == ["call", "task", "timer"]

    sleeping = asyncio.create_task(sleep())
    asyncio.get_running_loop().call_later(0.005, fired.append, "call")
    await asyncio.sleep_ms(0)
    timer = machine.Timer(mode=machine.Timer.ONE_SHOT, period=5, callback=lambda t: fired.append("timer"))
    pid = os.fork()
    good = await fires()
    await sleeping
    timer.deinit()
    if pid == 0:
        os._exit(4 if good else 5)
    assert good and ends(pid) == 4, fired
    print("timers")


if sys.argv[1] == "alone":
    print(os.getpid(), os.getppid(), error(os.fork), error(os.pipe), error(os.wait))
else:
    {"twice": twice, "pipes": pipes}[sys.argv[1]]()
print("the end")
