# SPDX-License-Identifier: MIT
"""One question to another server, by UDP and if need be by TCP, hard to forge an answer to (RFC 5452): id, port and the
case of the letters are drawn at random, and an answer must have them all."""

import errno
import os
import socket
import struct

from appliance.loop import IN, OUT
from message import HEADER
from rrtype import OPT

_UDP_MS = 900  # for an answer
_TCP_MS = 3000
_UDP_SIZE = 1232


class Ask:
    """Owns its socket. done(message or None): called once. question: name in lower case, type, class."""

    def __init__(self, loop: object, server: tuple, question: bytes, dnssec_ok: bool, done: object) -> None:
        self._loop = loop
        self._server = server
        self._done = done
        self._question = _mix(question[:-4]) + question[-4:]
        self._opt = struct.pack(">BHHIH", 0, OPT, _UDP_SIZE, 0x8000 if dnssec_ok else 0, 0)
        self._query = b""
        self._sock = None
        self._timer = None
        self._out = b""
        self._pending = b""
        self._stream = False

    def start(self) -> None:
        self._open(socket.SOCK_DGRAM, _UDP_MS)

    def _open(self, kind: int, wait_ms: int) -> None:
        self._stream = kind == socket.SOCK_STREAM
        self._query = os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\1" + self._question + self._opt
        self._timer = self._loop.call_later(wait_ms, lambda: self._end(None))
        try:
            family = socket.AF_INET6 if ":" in self._server[0] else socket.AF_INET
            self._sock = socket.socket(family, kind)
            self._sock.setblocking(False)
            if self._stream:
                self._out = struct.pack(">H", len(self._query)) + self._query
                try:
                    self._sock.connect(self._server)
                except OSError as exc:
                    if exc.errno != errno.EINPROGRESS:
                        raise
                self._loop.watch(self._sock, self, IN | OUT)
            else:
                self._sock.connect(self._server)  # what others send does not arrive
                self._sock.send(self._query)
                self._loop.watch(self._sock, self, IN)
        except OSError:
            pass  # the timer ends it

    def _close(self) -> None:
        self._timer.cancel()
        if self._sock is not None:
            self._loop.unwatch(self._sock)
            self._sock.close()
            self._sock = None

    def _end(self, message: bytes | None) -> None:
        if self._done is None:
            return
        done, self._done = self._done, None
        self._close()
        done(message)

    def ready(self, events: int) -> None:
        """May raise OSError."""
        if self._stream:
            self._ready_stream(events)
            return
        message = self._sock.recv(4096)
        if not _answers(message, self._query, len(self._question)):
            return  # a forgery, or a late answer: the right one may come yet
        end = HEADER + len(self._question)
        if message[2] & 2 or message[HEADER:end] != self._question:  # cut off, or a server that changes letters
            self._close()
            self._open(socket.SOCK_STREAM, _TCP_MS)
        else:
            self._end(message)

    def _ready_stream(self, events: int) -> None:
        if events & OUT and self._out:
            sent = self._sock.write(self._out) or 0
            self._out = self._out[sent:]
            if not self._out:
                self._loop.watch(self._sock, self, IN)
        if events & IN:
            data = self._sock.recv(4096)
            if not data:
                self._end(None)
                return
            self._pending += data
            size = struct.unpack(">H", self._pending[:2])[0] if len(self._pending) >= 2 else 65536
            if len(self._pending) >= 2 + size:
                message = self._pending[2 : 2 + size]
                self._end(message if _answers(message, self._query, len(self._question)) else None)

    def failed(self, exc: Exception) -> None:
        if not isinstance(exc, OSError) or exc.errno != errno.EAGAIN:
            self._end(None)


def _mix(name: bytes) -> bytes:
    """The name with letters of which each is as likely a capital."""
    out = bytearray(name)
    coins = os.urandom(len(name))
    for i in range(len(out)):
        if 0x61 <= out[i] <= 0x7A and coins[i] & 1:
            out[i] -= 0x20
    return bytes(out)


def _answers(message: bytes, query: bytes, size: int) -> bool:
    """Whether it is an answer to this query; the case of the letters is not looked at."""
    if len(message) < HEADER + size or message[:2] != query[:2] or message[2] & 0xF8 != 0x80:
        return False
    if message[4:6] != b"\0\1" or message[HEADER : HEADER + size].lower() != query[HEADER : HEADER + size].lower():
        return False
    return message[HEADER + size - 4 : HEADER + size] == query[HEADER + size - 4 : HEADER + size]
