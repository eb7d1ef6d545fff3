# SPDX-License-Identifier: MIT
"""VMs that fork while others are at work with them; what to do is in sys.argv[1]. The host is test_fork_net.py: `blob`
sends what is to be hashed, `sink` answers with the hash of what it has got, `echo` sends back what it gets."""

import asyncio
import hashlib
import os
import socket
import sys

import vm

HOST = "10.0.2.2"
WHAT = sys.argv[1]
PORTS = dict(word.split("=") for word in sys.argv[2:])


def connect(name):
    s = socket.socket()
    s.settimeout(30)
    s.connect((HOST, int(PORTS[name])))
    return s


def error_of(function, *args):
    try:
        return function(*args)
    except OSError as e:
        return "errno %d" % e.errno


def tell(*what):
    print("told", vm.getpid(), *what)


def echoed(s, data):
    s.sendall(data)
    return s.recv(len(data))


# ---- transfer: a download through many forks -------------------------------------------------------------


def transfer():
    """Each child tries the download, which is its parent's, and makes a connection of its own."""
    size, forks = int(PORTS["size"]), int(PORTS["forks"])
    download, hashed, n, pids = connect("blob"), hashlib.sha256(), 0, []
    while data := download.recv(65536):
        hashed.update(data)
        n += len(data)
        while len(pids) < forks and n > size * (len(pids) + 1) // (forks + 1):
            pids.append(vm.fork())
            if pids[-1] == 0:
                seen = error_of(download.recv, 10)
                download.close()
                with connect("echo") as s:
                    tell("child", seen, echoed(s, b"mine"))
                vm._exit(0)
    ends = [vm.waitpid(pid, 0)[1] for pid in pids]
    tell("hash", n, hashed.digest().hex(), len(ends), set(ends))


# ---- upload: the same the other way ----------------------------------------------------------------------


def upload():
    """It forks when what was written last is still on its way."""
    size, forks = int(PORTS["size"]), int(PORTS["forks"])
    sink, hashed, pids = connect("sink"), hashlib.sha256(), []
    for _ in range(forks):
        piece = os.urandom(1000) * (size // forks // 1000)
        hashed.update(piece)
        sink.sendall(piece)
        pids.append(vm.fork())
        if pids[-1] == 0:
            seen = error_of(sink.send, b"not its own")
            sink.close()
            with connect("echo") as s:
                tell("child", seen, echoed(s, b"mine"))
            vm._exit(0)
    sink.shutdown(socket.SHUT_WR)
    ends = [vm.waitpid(pid, 0)[1] for pid in pids]
    tell("hash", sink.recv(100).decode() == hashed.digest().hex(), len(ends), set(ends))


# ---- nested: a child's child -----------------------------------------------------------------------------


async def serve_name():
    """Say who this VM is to each who asks, until one says "stop"."""
    stop = asyncio.Event()

    async def answer(reader, writer):
        word = await reader.readline()
        writer.write(b"pid %d\n" % vm.getpid())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        if word == b"stop\n":
            stop.set()

    return await asyncio.start_server(answer, "0.0.0.0", 8080), stop


async def nested():
    """Three generations, each with a connection that was made before its child was."""
    _, stop = await serve_name()
    connections = []
    for name in ("first", "second", "third"):
        connections.append(connect(name))
        assert echoed(connections[-1], b"made") == b"made"
        pid = vm.fork() if len(connections) < 3 else -1
        if pid != 0:
            break
        tell("inherited", *(error_of(s.recv, 1) for s in connections))
    tell("own", echoed(connections[-1], b"still"))
    await stop.wait()
    if pid > 0:
        tell("child ended", vm.waitpid(pid, 0))
    if vm.getpid() > 1:
        vm._exit(vm.getpid())


# ---- workers: a server that forks while it is asked ------------------------------------------------------


async def workers():
    """HTTP to whoever asks; every `pause` milliseconds a worker, which draws numbers and ends."""
    ended = []

    async def answer(reader, writer):
        while line := await reader.readline():
            while line.strip():
                line = await reader.readline()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved")
            await writer.drain()
        writer.close()

    await asyncio.start_server(answer, "0.0.0.0", 8080)
    tell("serving")
    for _ in range(int(PORTS["forks"])):
        await asyncio.sleep_ms(int(PORTS["pause"]))
        pid = vm.fork()
        if pid == 0:
            os.urandom(4096)
            vm._exit(5)
        while not (end := vm.waitpid(pid, vm.WNOHANG))[0]:
            await asyncio.sleep_ms(10)
        ended.append(end[1])
    tell("workers", len(ended), set(ended))
    await asyncio.Event().wait()


if WHAT in ("nested", "workers"):
    asyncio.run({"nested": nested, "workers": workers}[WHAT]())
else:
    {"transfer": transfer, "upload": upload}[WHAT]()
