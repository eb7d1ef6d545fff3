# SPDX-License-Identifier: MIT
"""Queries by TCP (RFC 7766): listeners and connections in the poll loop. A connection may send queries ahead of the
answers; each has its answer in the order of the queries. While answers wait for the client to read, nothing is read."""

import errno

from appliance.listener import Listener
from appliance.loop import IN, OUT, Loop
from message import HEADER

_RECEIVE = 4096  # bytes asked of the socket at once
_OUT_HIGH = 32768  # bytes of waiting answers over which no further query is taken


class Limits:
    """What one client may cost."""

    def __init__(self) -> None:
        self.connections = 128
        self.per_address = 32
        self.idle_s = 10  # without a whole query, or without taking anything of an answer


class Connection:
    """Owns its socket."""

    udp = False

    def __init__(self, server: "TcpServer", sock: object, address: tuple) -> None:
        self.server = server
        self.sock = sock
        self.address = address
        self.since = server.tick  # when the last whole query came or a part of an answer went
        server.accepted_count += 1
        self.number = server.accepted_count
        self._pending = b""
        self._out: list = []
        self._out_size = 0
        self._more = None  # generator of the messages of an answer that goes on
        self._later = 0  # answers that come by reply()
        self._ended = False  # the client sends no more
        self._mask = IN
        server.loop.watch(sock, self, IN)

    def age_key(self) -> tuple:
        """Sorts connections: the one that has been silent longest first."""
        return self.since, self.number

    def ready(self, events: int) -> None:
        """May raise OSError."""
        if events & IN and self._mask & IN:
            data = self.sock.recv(_RECEIVE)
            if not data:
                self._ended = True
            self._pending = self._pending + data if self._pending else data
        elif not events & OUT:
            self.close()
            return
        self._advance()

    def failed(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            if exc.errno == errno.EAGAIN:
                return
        else:
            self.server.report(exc)
        self.close()

    def close(self) -> None:
        if self.sock is None:
            return
        self.server.loop.unwatch(self.sock)
        self.sock.close()
        self.sock = None
        self._more = None
        self.server.removed(self)

    def _advance(self) -> None:
        """Take queries and send answers until one side has to wait."""
        while True:
            taken = self._take()
            if self._out and not self._send():
                self._watch(OUT if self._out_size > _OUT_HIGH or self._more or self._ended else IN | OUT)
                return
            if not taken:
                break
        if not self._ended:
            self._watch(IN)
        elif self._later:
            self._watch(0)
        else:
            self.close()

    def reply(self, answer: bytes, address: tuple) -> None:
        """Send an answer that took its time, perhaps after later ones (RFC 7766, section 7)."""
        if self.sock is None:
            return
        self._later -= 1
        self._count(answer)
        self._queue(answer)
        try:
            self._advance()
        except OSError as exc:
            self.failed(exc)

    def _take(self) -> bool:
        """Queue answers. False: the next needs more input."""
        while self._out_size <= _OUT_HIGH:
            if self._more is not None:
                message = next(self._more, None)
                if message is None:
                    self._more = None
                else:
                    self._queue(message)
                continue
            pending = self._pending
            if len(pending) < 2:
                return False
            end = 2 + (pending[0] << 8 | pending[1])
            if len(pending) < end:
                return False
            self._pending = pending[end:]
            self.since = self.server.tick
            query = pending[2:end]
            answer = self.server.authority.respond(query, self, self.address)
            if isinstance(answer, bytes):
                self._count(answer)
                self._queue(answer)
            elif answer is not None:
                self._count(query)
                self._more = answer
            elif end > 2 + HEADER and not pending[4] & 0x80:
                self._later += 1
        return True

    def _count(self, message: bytes) -> None:
        self.server.authority.counts.cell(message, 0)[0] += 1

    def _queue(self, message: bytes) -> None:
        self._out.append(bytes([len(message) >> 8, len(message) & 0xFF]) + message)
        self._out_size += 2 + len(message)

    def _send(self) -> bool:
        """Send what is queued. False: the client has to read first. May raise OSError."""
        piece = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        sent = self.sock.write(piece) or 0
        if sent:
            self.since = self.server.tick
        self._out_size -= sent
        if sent < len(piece):
            self._out = [piece[sent:]]
            return False
        self._out = []
        return True

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            if mask:
                self.server.loop.watch(self.sock, self, mask)
            else:
                self.server.loop.unwatch(self.sock)


class TcpServer:
    """Owns its connections."""

    def __init__(self, loop: Loop, authority: object, limits: Limits, report: object) -> None:
        self.loop = loop
        self.authority = authority
        self.limits = limits
        self.report = report  # report(exception)
        self.connections: dict = {}  # id -> Connection
        self.holders: dict = {}  # address -> number of its connections
        self.accepted_count = 0
        self.tick = 0  # seconds since start
        loop.call_later(1000, self._count, 1000)

    def listen(self, family: int, address: tuple) -> None:
        Listener(self.loop, family, address, self.accepted)

    def accepted(self, sock: object, address: tuple) -> None:
        host = address[0]
        if self.holders.get(host, 0) >= self.limits.per_address:
            self._make_room(host)
        elif len(self.connections) >= self.limits.connections:
            self._make_room(max(self.holders, key=self.holders.get))
        connection = Connection(self, sock, address)
        self.connections[id(connection)] = connection
        self.holders[host] = self.holders.get(host, 0) + 1

    def _make_room(self, host: str) -> None:
        """Close the connection of this address that has been silent longest."""
        oldest = None
        for connection in self.connections.values():
            if connection.address[0] == host and (oldest is None or connection.age_key() < oldest.age_key()):
                oldest = connection
        if oldest is not None:
            oldest.close()

    def removed(self, connection: Connection) -> None:
        if self.connections.pop(id(connection), None) is None:
            return
        host = connection.address[0]
        left = self.holders[host] - 1
        if left:
            self.holders[host] = left
        else:
            del self.holders[host]

    def _count(self) -> None:
        self.tick += 1
        for connection in list(self.connections.values()):
            if self.tick - connection.since > self.limits.idle_s:
                connection.close()
