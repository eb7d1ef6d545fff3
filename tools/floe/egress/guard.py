# SPDX-License-Identifier: MIT
"""The guard of a process that may send to few places: it makes the process's sockets, and does itself what names a
destination, where its rules allow that. A guard that is gone lets nothing through: the kernel then fails the calls.

It is threads of the process that starts the guarded one, and trusts nothing of that: each address is copied once,
judged, and used from the copy.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from . import filter as seccomp
from . import names, notify

_MOST_NUMBERS = 1 << 16
_FEWEST_NUMBERS = 64
_LONGEST_ADDRESS = 128
_DATAGRAM = 1 << 16
_MOST_PEERS = 4096  # who may be answered, of each forwarded port
_MOST_TOLD = 256  # lines about what was refused
_DNS = 53
_RESOLVER = "/etc/resolv.conf"
_FRESH_S = 60.0  # a name's addresses are looked up again when they are older, and it is asked for
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
_LOOPBACK = {bytes((127, 0, 0, 1)), bytes(15) + b"\1"}
_PROTOCOLS: dict[int, tuple[str, tuple[int, ...]]] = {
    socket.SOCK_STREAM: ("tcp", (0, socket.IPPROTO_TCP)),
    socket.SOCK_DGRAM: ("udp", (0, socket.IPPROTO_UDP)),
}

_libc = ctypes.CDLL(None, use_errno=True)

Place = tuple[str, bytes, int]  # protocol, address, port


class Guard:
    """Lets one process at a time, and those that follow it, send where `rules` say. tell: takes a line for each target
    that was refused, from any thread."""

    def __init__(self, rules: str, tell: Callable[[str], None]) -> None:
        """rules: as Rules in floe.spec.egress writes them down."""
        told = json.loads(rules)
        self._fixed: set[Place] = {(p, packed(a), port) for p, a, port in told["fixed"]}
        self._named: list[tuple[str, str, int]] = [tuple(each) for each in told["named"]]
        self._pins = {name: Pin([packed(a) for a in addresses]) for name, addresses in told["pins"].items()}
        self._replies = set(told["replies"])
        self._gateway = packed(told["gateway"])
        self._allowed: set[Place] = set()
        self._settle()
        self._tell = tell
        self._told: set[str] = set()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._numbers = min(hard, _MOST_NUMBERS) if hard != resource.RLIM_INFINITY else _MOST_NUMBERS
        if self._numbers < _FEWEST_NUMBERS:
            raise OSError(errno.EMFILE, f"ulimit -n is {self._numbers}")
        self._high = self._numbers // 2
        self.numbers = range(self._high, self._numbers)  # of the process's sockets
        self._program = seccomp.program(self._high)

    @contextmanager
    def entrance(self) -> Iterator[Callable[[], None]]:
        """A function that the new process, or the thread that starts it, calls: from then on it is guarded. It raises
        OSError."""
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._receive, args=(ours,), daemon=True, name="egress").start()

        def enter() -> None:
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._numbers, hard))
            listener = seccomp.install(self._program)
            socket.send_fds(theirs, [b"."], [listener])
            os.close(listener)

        try:
            yield enter
        finally:
            theirs.close()  # whoever waits for it in vain learns so

    def _receive(self, ours: socket.socket) -> None:
        with ours:
            # Of its own process alone: socket.recv_fds() of CPython 3.11 loses the flag, and the new process could
            # inherit it, and answer itself.
            _, control, _, _ = ours.recvmsg(1, socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC)
        for _, _, data in control:
            listener = int.from_bytes(data[:4], "little")
            try:
                Watch(self, listener).run()
            finally:
                os.close(listener)

    # ---- what is allowed ----------------------------------------------------------------------------

    def allows(self, place: Place) -> bool:
        """Whether it may be sent to."""
        return place in self._allowed

    def answers_from(self, port: int) -> bool:
        """Whether that UDP port of this host is a forwarded one."""
        return port in self._replies

    def refuse(self, what: str) -> None:
        """Say once that it was refused."""
        if what in self._told or len(self._told) > _MOST_TOLD:
            return
        self._told.add(what)
        last = len(self._told) > _MOST_TOLD
        self._tell("--allow: what else is refused is not told any more" if last else f"--allow: refused {what}")

    def answer(self, query: bytes) -> bytes | None:
        """What the guest is told for a query of its own."""
        return names.answer(query, self._lookup)

    def _lookup(self, name: str) -> list[tuple[int, bytes]] | None:
        pin = self._pins.get(name)
        if pin is None:
            self.refuse(f"the name {name[:80]}")
            return None
        if pin.is_due():
            threading.Thread(target=self._look_again, args=(name, pin), daemon=True, name="egress name").start()
        # A guest reaches this host's own loopback as its gateway.
        found = [self._gateway if address in _LOOPBACK else address for address in pin.addresses]
        return [(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address) for address in found]

    def _look_again(self, name: str, pin: Pin) -> None:
        with suppress(OSError, UnicodeError):
            pin.renew([packed(str(info[4][0])) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)])
            self._settle()

    def _settle(self) -> None:
        named = {(p, address, port) for p, name, port in self._named for address in self._pins[name].good}
        self._allowed = self._fixed | named


class Pin:
    """A name's addresses. Those from before stay good for as long as these are the newest."""

    def __init__(self, addresses: list[bytes]) -> None:
        self.addresses = addresses
        self.good = set(addresses)
        self._due = 0.0  # they may be of a start long ago

    def is_due(self) -> bool:
        """Whether it is to be looked up; then nobody else will for a while."""
        if time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + _FRESH_S
        return True

    def renew(self, addresses: list[bytes]) -> None:
        """It has these now."""
        if addresses:
            self.good = {*addresses, *self.addresses}
            self.addresses = list(dict.fromkeys(addresses))


class Watch:
    """Answers the calls of one process, until it has ended."""

    def __init__(self, guard: Guard, listener: int) -> None:
        self._guard = guard
        self._listener = listener
        self._process: notify.Process | None = None
        self._peers: dict[int, OrderedDict[bytes, None]] = {}  # of forwarded UDP ports: who has sent to them
        self._servers: dict[int, socket.socket] = {}  # by family: from which questions are answered
        self._walls: dict[int, socket.socket] = {}  # by family: bound, and nobody listens there
        self._next = 0  # in the guard's numbers
        self._asked: dict[bytes, bytes] = {}  # by a server's address: the one that the guest thinks it is

    def run(self) -> None:
        """Serve it."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        try:
            while not any(events & select.POLLHUP for _, events in poll.poll()):
                call = notify.receive(self._listener)
                if call is not None:
                    self._serve(call)
        finally:
            if self._process is not None:
                self._process.close()
            for sock in (*self._servers.values(), *self._walls.values()):
                sock.close()

    def _serve(self, call: notify.Call) -> None:
        try:
            process = self._of(call)
            if call.number == seccomp.SOCKET:
                self._socket(call, process)
                return
            how = {
                seccomp.CONNECT: self._connect,
                seccomp.SENDTO: self._sendto,
                seccomp.RECVFROM: self._recvfrom,
            }[call.number]
            with _socket_of(process.copy(call.args[0] & 0xFFFFFFFF)) as sock:
                value = how(process, sock, call.args)
        except (OSError, ValueError, KeyError) as e:
            value = -(getattr(e, "errno", None) or errno.EACCES)
        notify.answer(self._listener, call, value)

    def _of(self, call: notify.Call) -> notify.Process:
        """The process that asks: there is only one. Raises OSError."""
        if self._process is None:
            self._process = notify.Process(call.thread)
        if not self._process.has(call.thread) or not notify.is_waiting(self._listener, call):
            raise OSError(errno.EPERM, "another process")
        return self._process

    # ---- the calls ----------------------------------------------------------------------------------

    def _socket(self, call: notify.Call, process: notify.Process) -> None:
        family, kind, protocol = (value & 0xFFFFFFFF for value in call.args[:3])
        flags, kind = kind & ~0xF, kind & 0xF
        if family not in (socket.AF_INET, socket.AF_INET6) or protocol not in _PROTOCOLS.get(kind, ("", ()))[1]:
            if protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
                self._guard.refuse("ICMP: the guest's ping")
            raise OSError(errno.EACCES, "no such socket is let out")
        with socket.socket(family, kind | flags, protocol) as sock:
            notify.answer_with(self._listener, call, sock.fileno(), self._number(process))

    def _number(self, process: notify.Process) -> int:
        """A free one for a socket. Raises OSError."""
        numbers = self._guard.numbers
        for _ in numbers:
            number = numbers[self._next]
            self._next = (self._next + 1) % len(numbers)
            if not process.uses(number):
                return number
        raise OSError(errno.EMFILE, "too many sockets")

    def _connect(self, process: notify.Process, sock: socket.socket, args: tuple[int, ...]) -> int:
        raw = process.read(args[1], min(args[2] & 0xFFFFFFFF, _LONGEST_ADDRESS))
        place = _place(sock, raw)
        sock.setblocking(False)  # the guard waits for nobody
        if not self._guard.allows(place):
            self._guard.refuse(shown(place))
            if sock.type != socket.SOCK_STREAM:
                return -errno.ECONNREFUSED
            # At a port where nobody listens, as refusals come from other machines: libslirp 4.7 ends QEMU where a
            # connect() from a false sender fails at once.
            raw = self._wall(sock.family)
        return _done(_libc.connect(sock.fileno(), raw, len(raw)))

    def _wall(self, family: socket.AddressFamily) -> bytes:
        """The address of a port of this host that refuses. Raises OSError."""
        wall = self._walls.get(family)
        if wall is None:
            wall = self._walls[family] = _bound(family, socket.SOCK_STREAM)
        return _raw_name(wall)

    def _sendto(self, process: notify.Process, sock: socket.socket, args: tuple[int, ...]) -> int:
        raw = process.read(args[4], min(args[5] & 0xFFFFFFFF, _LONGEST_ADDRESS))
        if sock.type != socket.SOCK_DGRAM:
            return -errno.EISCONN
        if args[2] > _DATAGRAM:
            return -errno.EMSGSIZE
        data = process.read(args[1], args[2]) if args[2] else b""
        place = _place(sock, raw)
        if not self._guard.allows(place) and not self._replies(sock, raw):
            if place[2] == _DNS and place[1] in _LOOPBACK | resolvers():
                return self._ask(sock, raw, data)
            self._guard.refuse(shown(place))
            # Lost, as a datagram may be. For an error libslirp would make an ICMP message from the guest's own packet;
            # 4.7 ends QEMU where that has a false sender.
            return len(data)
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        return _done(_libc.sendto(sock.fileno(), data, ctypes.c_size_t(len(data)), flags, raw, len(raw)))

    def _replies(self, sock: socket.socket, raw: bytes) -> bool:
        """Whether it goes from a forwarded port to one who has sent there."""
        peers = self._peers.get(sock.getsockname()[1])
        return peers is not None and raw[: _size(raw)] in peers

    def _ask(self, sock: socket.socket, raw: bytes, query: bytes) -> int:
        """A question for the host's name server, which is not asked: the guard's answer waits in the socket."""
        reply = self._guard.answer(query)
        if reply is None:
            return len(query)
        if sock.getsockname()[1] == 0:
            sock.bind(("", 0))
        server = self._servers.get(sock.family)
        if server is None:
            server = self._servers[sock.family] = _bound(sock.family, socket.SOCK_DGRAM)
        name = _raw_name(server)
        self._asked[name[: _size(name)]] = raw
        with suppress(OSError):  # lost, as a datagram may be
            server.sendto(reply, socket.MSG_DONTWAIT, (_local(sock.family), sock.getsockname()[1]))
        return len(query)

    def _recvfrom(self, process: notify.Process, sock: socket.socket, args: tuple[int, ...]) -> int:
        size = min(args[2], _DATAGRAM)
        data, raw = ctypes.create_string_buffer(size or 1), ctypes.create_string_buffer(_LONGEST_ADDRESS)
        length = ctypes.c_uint32(_LONGEST_ADDRESS)
        flags = args[3] & 0xFFFFFFFF & (socket.MSG_PEEK | socket.MSG_TRUNC) | socket.MSG_DONTWAIT
        got = _done(
            _libc.recvfrom(sock.fileno(), data, ctypes.c_size_t(size), flags, raw, ctypes.byref(length)),
        )
        if got < 0:
            return got
        sender = raw.raw[: length.value]
        port = sock.getsockname()[1]
        if sock.type == socket.SOCK_DGRAM and self._guard.answers_from(port):
            peers = self._peers.setdefault(port, OrderedDict())
            peers[sender[: _size(sender)]] = None
            peers.move_to_end(sender[: _size(sender)])
            if len(peers) > _MOST_PEERS:
                peers.popitem(last=False)
        sender = self._asked.get(sender[: _size(sender)], sender)
        process.write(args[1], data.raw[: min(got, size)]) if got else None
        room = int.from_bytes(process.read(args[5], 4), "little")
        process.write(args[4], sender[:room]) if room else None
        process.write(args[5], struct.pack("=I", len(sender)))
        return got


def packed(address: str) -> bytes:
    """An address as the kernel has it; one of IPv4 that is mapped into IPv6 is one of IPv4. Raises OSError."""
    if ":" not in address:
        return socket.inet_aton(address)
    raw = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    return raw[12:] if raw.startswith(_MAPPED) else raw


def shown(place: Place) -> str:
    """As --allow takes it."""
    protocol, address, port = place
    text = socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
    return (f"[{text}]" if ":" in text else text) + f":{port}" + ("/udp" if protocol == "udp" else "")


def resolvers() -> set[bytes]:
    """The name servers of this host, which answer a guest under the virtual one's address."""
    found = set()
    with suppress(OSError), open(_RESOLVER, encoding="utf-8", errors="replace") as f:
        for line in f:
            word, *rest = line.split() or [""]
            if word == "nameserver" and rest:
                with suppress(OSError):
                    found.add(packed(rest[0]))
    return found


def _place(sock: socket.socket, raw: bytes) -> Place:
    """Raises OSError for what is no address of IPv4's or IPv6's, on a socket that is of neither."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type not in _PROTOCOLS:
        raise OSError(errno.EACCES, "not a socket of the guard's")
    family = int.from_bytes(raw[:2], "little")
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET and len(raw) >= 16:
        address = raw[4:8]
    elif family == socket.AF_INET6 and len(raw) >= 24:
        address = raw[20:24] if raw[8:20] == _MAPPED else raw[8:24]
    else:
        raise OSError(errno.EAFNOSUPPORT, "not an address of IP")
    return _PROTOCOLS[sock.type][0], address, port


def _size(raw: bytes) -> int:
    """How much of a socket's address says where it is: what follows is padding, or a flow's label was in it."""
    return 8 if int.from_bytes(raw[:2], "little") == socket.AF_INET else 28


def _socket_of(fd: int) -> socket.socket:
    """The socket that a descriptor of ours is, which is closed where it is none. Raises OSError."""
    try:
        return socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        raise


def _local(family: int) -> str:
    return "127.0.0.1" if family == socket.AF_INET else "::1"


def _bound(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    """A socket with a port of this host's own. Raises OSError."""
    sock = socket.socket(family, kind)
    try:
        sock.bind((_local(family), 0))
    except OSError:
        sock.close()
        raise
    return sock


def _raw_name(sock: socket.socket) -> bytes:
    """As the kernel writes it in recvfrom(2)."""
    raw = ctypes.create_string_buffer(_LONGEST_ADDRESS)
    length = ctypes.c_uint32(_LONGEST_ADDRESS)
    _done(_libc.getsockname(sock.fileno(), raw, ctypes.byref(length)))
    return raw.raw[: length.value]


def _done(result: int) -> int:
    """A call's result, or its error as a negative number."""
    return result if result >= 0 else -ctypes.get_errno()
