# SPDX-License-Identifier: MIT
"""The proxy's most frequent case: a plain request that arrives whole, and a plain answer that does.

Both are passed on as modules/http makes them, and are not taken apart here. All else goes the way of connection.py,
which parses, and exchange.py; that also holds for such a request if its answer is another one.
"""

import select

from connection import FOREVER, HANDLER, IDLE, RECEIVE, Connection
from http1 import parse_head

_IN = select.POLLIN


class Plain:
    """A request as message.Request has it, which is parsed only when somebody asks for its head."""

    method = "GET"
    body = b""
    site: object = None  # as a Head has it

    def __init__(self, secure: bool) -> None:
        self._secure = secure

    def take(self, raw: bytes) -> None:
        self._raw = raw
        self._head: object = None

    @property
    def head(self) -> object:
        if self._head is None:
            self._head = parse_head(self._raw[:-4], self._secure)
        return self._head


class Quick(Connection):
    """A connection all of whose requests are the proxy's."""

    def ready(self, events: int) -> None:
        """May raise OSError."""
        if events & _IN and self.state == IDLE:
            data = self.sock.recv(RECEIVE)
            if not self.server.handler.begin(self, data):
                self._received(data)
        elif events & _IN and self.state == HANDLER and self.inflow is None:
            self._wait(HANDLER, FOREVER, 0)  # it is read when the answer has left
        else:
            Connection.ready(self, events)

    def pass_on(self, exchange: object, wire: bytes) -> None:
        """An answer as it leaves. What counts it is told of the exchange as if that were the answer."""
        self.task = None
        server = self.server
        server.served += 1
        if server.note is not None:
            server.note(self, exchange.head or exchange.request, exchange)
        try:
            if self.mask & _IN and not self.pending:
                self.state = IDLE
                self.since = server.tick
                self.limit_s = server.limits.idle_s
                sent = self.sock.write(wire) or 0
                if sent == len(wire):
                    return
                wire = memoryview(wire)[sent:]
            self._queue(wire)
            self._advance()
        except OSError as exc:
            self.failed(exc)
