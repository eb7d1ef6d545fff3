# SPDX-License-Identifier: MIT
"""TLS servers for a guest's clients, on loopback: CPython's ssl, one port for each kind of server."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType

from tests.support.certs import Certificates

Talk = Callable[[ssl.SSLSocket], None]

DEADLINE_S = 30


class TlsServices:
    """`arguments` names every service and its port for the guest's command line.

    good, rsa, wrong, expired, future, selfsigned, unknown: echo, showing that certificate. v12, v13: good, with this
    version of TLS alone. ticketless: v13 that gives no session. v12rsa, v12first: rsa with TLS 1.2 alone, by the client's and by its own order. upper: answers in capitals after the end. cut: "bye" and no close_notify. mutual: echo for
    clients with a certificate of the CA. ended: "bye" and close_notify, then it waits. big: answers N bytes to a line that holds N. plain: no TLS at all."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._stack = ExitStack()
        self.ports: dict[str, int] = {}

    @property
    def arguments(self) -> list[str]:
        return [f"{name}={port}" for name, port in self.ports.items()]

    def __enter__(self) -> TlsServices:
        for name in ("good", "rsa", "wrong", "expired", "future", "selfsigned", "unknown"):
            self._listen(name, self._context(name), _echo)
        v12, v13, mutual = self._context("good"), self._context("good"), self._context("good")
        v12.maximum_version = ssl.TLSVersion.TLSv1_2
        v13.minimum_version = ssl.TLSVersion.TLSv1_3
        mutual.verify_mode = ssl.CERT_REQUIRED
        mutual.load_verify_locations(self._certificates.pem("ca"))
        self._listen("v12", v12, _echo)
        self._listen("v13", v13, _echo)
        ticketless = self._context("good")
        ticketless.minimum_version = ssl.TLSVersion.TLSv1_3
        ticketless.num_tickets = 0
        self._listen("ticketless", ticketless, _echo)
        for name, mine in (("v12rsa", False), ("v12first", True)):
            context = self._context("rsa")
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            own_order = ssl.OP_CIPHER_SERVER_PREFERENCE
            context.options = context.options | own_order if mine else context.options & ~own_order
            self._listen(name, context, _echo)
        self._listen("mutual", mutual, _echo)
        self._listen("ended", self._context("good"), _ended)
        self._listen("upper", self._context("good"), _upper)
        self._listen("cut", self._context("good"), _cut)
        self._listen("big", self._context("good"), _big)
        self._listen("plain", None, lambda conn: conn.sendall(b"220 hello, I speak no TLS\r\n"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificates.pem(name), self._certificates.key(name))
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def _listen(self, name: str, context: ssl.SSLContext | None, talk: Talk) -> None:
        server = self._stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        self.ports[name] = server.getsockname()[1]
        threading.Thread(target=self._accept, args=(server, context, talk), daemon=True).start()

    def _accept(self, server: socket.socket, context: ssl.SSLContext | None, talk: Talk) -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                conn, _ = server.accept()
                conn.settimeout(DEADLINE_S)
                threading.Thread(target=self._serve, args=(conn, context, talk), daemon=True).start()

    def _serve(self, conn: socket.socket, context: ssl.SSLContext | None, talk: Talk) -> None:
        with conn, suppress(OSError):  # what a guest refuses is judged in the guest
            if context is None:
                talk(conn)
                return
            with context.wrap_socket(conn, server_side=True) as wrapped:
                talk(wrapped)


def _echo(conn: ssl.SSLSocket) -> None:
    while data := conn.recv(65536):
        conn.sendall(data)
    conn.unwrap()


def _upper(conn: ssl.SSLSocket) -> None:
    parts = []
    while data := conn.recv(65536):
        parts.append(data)
    conn.sendall(b"".join(parts).upper())
    conn.unwrap()


def _cut(conn: ssl.SSLSocket) -> None:
    conn.recv(100)
    conn.sendall(b"bye")
    conn.shutdown(socket.SHUT_RDWR)


def _ended(conn: ssl.SSLSocket) -> None:
    conn.recv(100)
    conn.sendall(b"bye")
    conn.unwrap()


def _big(conn: ssl.SSLSocket) -> None:
    size = int(conn.recv(100))
    conn.sendall(bytes(range(256)) * (size // 256))
    conn.unwrap()
