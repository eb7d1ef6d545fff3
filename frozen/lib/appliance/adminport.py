# SPDX-License-Identifier: MIT
"""The pages of admin.py on a port, for an appliance with a poll loop of its own."""

import errno
import select
import socket

from .admin import MAX_HEAD, answer, complete
from .listener import Listener
from .loop import IN, OUT

_CLIENTS = 8
_CLIENT_MS = 5000
_GONE = select.POLLERR | select.POLLHUP


class AdminPort:
    """Owns the listener and the clients. Raises OSError."""

    def __init__(self, app: object, loop: object, port: int) -> None:
        self.app = app
        self.loop = loop
        self.clients = 0
        address = socket.getaddrinfo("::", port, socket.AF_INET6, socket.SOCK_STREAM)[0][-1]
        Listener(loop, socket.AF_INET6, address, self._accepted)

    def _accepted(self, sock: object, address: object) -> None:
        if self.clients >= _CLIENTS:
            sock.close()
        else:
            _Client(self, sock)


class _Client:
    """One connection: a request, its answer, the end."""

    def __init__(self, port: AdminPort, sock: object) -> None:
        self._port = port
        self._sock = sock
        self._head = b""
        self._out = b""
        port.clients += 1
        port.loop.watch(sock, self, IN)
        self._deadline = port.loop.call_later(_CLIENT_MS, self._close)

    def ready(self, events: int) -> None:
        """May raise OSError."""
        if not self._out:
            data = self._sock.recv(MAX_HEAD)
            self._head += data
            if not complete(self._head):
                if not data:
                    self._close()
                return
            self._out = answer(self._port.app, self._head)
            self._port.loop.watch(self._sock, self, OUT)
        elif events & _GONE:
            self._close()
            return
        self._out = self._out[self._sock.send(self._out) :]
        if not self._out:
            self._close()

    def failed(self, exc: Exception) -> None:
        if not isinstance(exc, OSError) or exc.errno != errno.EAGAIN:
            self._close()

    def _close(self) -> None:
        self._deadline.cancel()
        self._port.loop.unwatch(self._sock)
        self._sock.close()
        self._port.clients -= 1
