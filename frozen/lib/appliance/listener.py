# SPDX-License-Identifier: MIT
"""Listening sockets in the poll loop of loop.py."""

import errno
import socket

from .loop import IN

_BACKLOG = 64
_AGAIN_MS = 1000


def families(port: int, kind: int, make: object) -> list:
    """Call make(family, address) for each address family there is. Returns their names. Raises OSError without one.

    kind: socket.SOCK_STREAM or SOCK_DGRAM."""
    names: list = []
    for name, family, host in (("IPv6", socket.AF_INET6, "::"), ("IPv4", socket.AF_INET, "0.0.0.0")):
        try:
            make(family, socket.getaddrinfo(host, port, family, kind)[0][-1])
            names.append(name)
        except OSError:  # no such family, or the other one serves it too
            if name == "IPv4" and not names:
                raise
    return names


class Listener:
    """Calls accepted(sock, address) with each connection, which is closed if that raises. Raises OSError."""

    def __init__(self, loop: object, family: int, address: object, accepted: object) -> None:
        self._loop = loop
        self._accepted = accepted
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sock.bind(address)
            self._sock.listen(_BACKLOG)
            self._sock.setblocking(False)
        except OSError:
            self._sock.close()
            raise
        self._listen()
        loop.call_later(_AGAIN_MS, self._listen, _AGAIN_MS)

    def _listen(self) -> None:
        self._loop.watch(self._sock, self, IN)

    def ready(self, events: int) -> None:
        sock, address = self._sock.accept()
        try:
            sock.setblocking(False)
            self._accepted(sock, address)
        except Exception:  # no memory for it
            sock.close()
            raise

    def failed(self, exc: Exception) -> None:
        if not isinstance(exc, OSError) or exc.errno != errno.EAGAIN:
            self._loop.unwatch(self._sock)  # out of memory or sockets: until the timer's next time
            self._loop.report(exc)
