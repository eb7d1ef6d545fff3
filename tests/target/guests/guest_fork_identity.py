# SPDX-License-Identifier: MIT
"""A VM with connections of several kinds that forks twice: what its children have of them, and who they are. The host
is test_fork_identity.py: `blob` sends what is to be hashed, `hold` keeps a connection open and says nothing, `draws`
takes what a VM has drawn, `tls` and `echo`, which is UDP, send back what they get, and so does `echo6` on IPv6."""

import asyncio
import hashlib
import os
import random
import select
import socket
import ssl
import sys
import time

import machine
import network
import vm

HOST, HOST6 = "10.0.2.2", "fec0::2"
PORTS = dict(word.split("=") for word in sys.argv[1:])
DRAWS = 1000
CHILDREN = 2
FIRST_PART = 300000  # of the download: then it forks
LONG_AGO = (2001, 2, 3, 5, 4, 5, 6, 0)  # the date of the first machine


class Events:
    def __init__(self):
        self.go = asyncio.Event()
        self.stop = asyncio.Event()


def pem(name):
    return os.getenv(name).replace("|", "\n").encode()


def connect(name):
    s = socket.socket()
    s.connect((HOST, int(PORTS[name])))
    return s


def pair():
    """A connection between two sockets of this VM."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 8000))
        listener.listen(1)
        one = socket.socket()
        one.connect(("127.0.0.1", 8000))
        return one, listener.accept()[0]


def secured():
    """A TLS connection to the host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    s = context.wrap_socket(connect("tls"))
    s.write(b"one")
    assert s.read(3) == b"one"
    return s


class Datagrams:
    """Sockets with a datagram that came and was not read: from the host, and from this VM itself."""

    def __init__(self):
        self.theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.own.bind(("127.0.0.1", 8001))
        self.theirs.sendto(b"theirs", (HOST, int(PORTS["echo"])))
        self.own.sendto(b"own", ("127.0.0.1", 8001))
        poll = select.poll()
        for s in (self.theirs, self.own):
            s.setblocking(False)
            poll.register(s, select.POLLIN)
        assert eventually(lambda: len(poll.poll(0)) == 2)

    def unread(self):
        return error_of(self.theirs.recv, 10), error_of(self.own.recv, 10)


def eventually(condition):
    deadline = time.ticks_add(time.ticks_ms(), 20000)
    while not (holds := condition()) and time.ticks_diff(deadline, time.ticks_ms()) > 0:
        time.sleep_ms(10)
    return holds


def by_ip6():
    """A datagram at once, and a connection."""
    address = (HOST6, int(PORTS["echo6"]))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        at_once = error_of(s.sendto, b"x", address)
    with socket.socket(socket.AF_INET6) as s:
        s.settimeout(20)
        s.connect(address)
        s.sendall(b"six")
        return at_once, s.recv(3)


def error_of(function, *args):
    try:
        return function(*args)
    except OSError as e:
        return "errno %d" % e.errno


def serve(events):
    async def answer(reader, writer):
        word = (await reader.readline()).strip()
        writer.write(b"pid %d\n" % vm.getpid())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        if word == b"go":
            events.go.set()
        elif word == b"stop":
            events.stop.set()

    return answer


async def listen_to(reader, ends):
    try:
        ends.append(await reader.read(1))
    except OSError as e:
        ends.append("errno %d" % e.errno)


async def hear(ends):
    for _ in range(500):
        if ends:
            return ends[0]
        await asyncio.sleep_ms(10)
    return "nothing"


def tell(*what):
    print("told", vm.getpid(), *what)


def tell_of_itself():
    tell("is", random.getrandbits(32), network.hostname(), machine.unique_id().hex())
    tell("clock", time.time(), *machine.RTC().datetime()[:3])


def draw():
    drawn = [os.urandom(8) for _ in range(DRAWS)]
    with connect("draws") as s:
        s.sendall(b"%d\n" % vm.getpid() + b"".join(drawn))
        assert s.recv(1) == b"k"
    tell("drew")


async def be_a_child(events, download, ends, halves, tls, datagrams):
    tell("ip6", *by_ip6())  # first: no router has said anything yet
    tell("unread", *datagrams.unread())
    tell("read", error_of(download.recv, 10), error_of(download.recv, 10), error_of(download.send, b"x"))
    tell("tls", error_of(tls.read, 1), error_of(tls.write, b"x"))
    tls.close()
    tell("task", await hear(ends))
    halves[0].sendall(b"inside")
    tell("inside", halves[1].recv(10))
    tell_of_itself()
    draw()
    await events.stop.wait()
    vm._exit(7)


async def main():
    events = Events()
    await asyncio.start_server(serve(events), "0.0.0.0", 8080)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem("GOOD_PEM"), pem("GOOD_KEY"))
    await asyncio.start_server(serve(events), "0.0.0.0", 8443, ssl=tls)
    ends = []
    reader, _ = await asyncio.open_connection(HOST, int(PORTS["hold"]))
    task = asyncio.create_task(listen_to(reader, ends))
    halves, encrypted = pair(), secured()
    tell("ip6", *by_ip6())
    machine.RTC().datetime(LONG_AGO)
    tell_of_itself()
    print("ready")
    await events.go.wait()
    datagrams = Datagrams()
    download = connect("blob")
    hashed, n = hashlib.sha256(), 0
    children = []
    while data := download.recv(65536):
        hashed.update(data)
        n += len(data)
        if n > FIRST_PART and len(children) < CHILDREN:
            children.append(vm.fork())
            if children[-1] == 0:
                await be_a_child(events, download, ends, halves, encrypted, datagrams)
        await asyncio.sleep_ms(0)
    tell("hash", n, hashed.digest().hex(), ends)
    encrypted.write(b"two")
    tell("tls", encrypted.read(3))
    tell("unread", *datagrams.unread())
    tell("clock", time.time(), *machine.RTC().datetime()[:3])
    draw()
    await events.stop.wait()
    for pid in children:
        tell("ended", *vm.waitpid(pid, 0))
    task.cancel()


asyncio.run(main())
