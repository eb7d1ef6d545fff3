# SPDX-License-Identifier: MIT
"""All addresses of a name, asked of the VM's name server by UDP (RFC 1035). getaddrinfo() gives one, and waits."""

import errno
import os
import select
import socket

import network

_A, _AAAA = 1, 28
_TRIES = 3  # of a question, at each tick() that finds it old
_OLD = 5  # ticks
_MAX = 64  # addresses


class Question:
    """Owns its socket. done(addresses, ttl in seconds) is called once; addresses: (family, text) pairs, or none."""

    def __init__(self, events: object, host: str, done: object) -> None:
        self._events = events
        self._host = host
        self._done = done
        self._kind = _A
        self._tries = 0
        self._age = 0
        self._query = b""
        self._sock: object = None

    def start(self) -> None:
        """Ask, or ask again."""
        self._close()
        self._tries += 1
        self._age = 0
        name = b"".join([bytes([len(label)]) + label for label in self._host.encode().rstrip(b".").split(b".")])
        self._query = os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\0" + name + bytes((0, 0, self._kind, 0, 1))
        try:
            server = network.ipconfig("dns")
            self._sock = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
            self._sock.setblocking(False)
            self._sock.connect((server, 53))
            self._sock.send(self._query)
            self._events.watch(self._sock, self, select.POLLIN)
        except OSError:
            pass  # tick() comes back to it

    def tick(self) -> None:
        self._age += 1
        if self._age >= _OLD:
            if self._tries < _TRIES:
                self.start()
            else:
                self._end([], 0)

    def _close(self) -> None:
        if self._sock is not None:
            self._events.unwatch(self._sock)
            self._sock.close()
            self._sock = None

    def _end(self, addresses: list, ttl: int) -> None:
        self._close()
        self._done(addresses, ttl)

    def ready(self, events: int) -> None:
        """May raise OSError."""
        message = self._sock.recv(1500)
        size = len(self._query)
        same = message[:2] == self._query[:2] and message[12:size].lower() == self._query[12:].lower()
        if not same or message[2] & 0xF8 != 0x80 or message[4:6] != b"\0\1":
            return  # not the answer to this
        try:
            found, ttl = _records(message, size, self._kind)
        except IndexError:
            found, ttl = [], 0
        if not found and self._kind == _A and message[3] & 15 == 0:
            self._kind = _AAAA
            self._tries = 0
            self.start()
        else:
            self._end(found, ttl)

    def failed(self, exc: Exception) -> None:
        if not isinstance(exc, OSError):
            self._events.report(exc)
        elif exc.errno == errno.EAGAIN:
            return
        self._close()  # tick() comes back to it


def _skip_name(message: bytes, at: int) -> int:
    while message[at]:
        if message[at] >= 0xC0:
            return at + 2
        at += 1 + message[at]
    return at + 1


def _records(message: bytes, at: int, kind: int) -> tuple:
    """Addresses of that kind in the answer section, and the least time they hold."""
    count = int.from_bytes(message[6:8], "big")
    family, size = (socket.AF_INET, 4) if kind == _A else (socket.AF_INET6, 16)
    found: list = []
    least = 3600
    for _ in range(min(count, _MAX)):
        at = _skip_name(message, at)
        sort = message[at : at + 4]
        ttl = int.from_bytes(message[at + 4 : at + 8], "big")
        length = int.from_bytes(message[at + 8 : at + 10], "big")
        data = message[at + 10 : at + 10 + length]
        at += 10 + length
        if sort == bytes((0, kind, 0, 1)) and len(data) == length == size:
            address = (family, socket.inet_ntop(family, data))
            if address not in found:
                found.append(address)
            least = min(least, ttl)
    return found, least
