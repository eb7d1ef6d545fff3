# SPDX-License-Identifier: MIT
"""The domain process's end of a socket that it inherited: connected to one owner for good, or listening for whoever
owns the VM now."""

from __future__ import annotations

import select
import socket

HIGH_WATER = 1 << 16  # bytes that wait; above it, no more are taken in
_CHUNK = 1 << 16


class Wire:
    """Bytes for the owner wait here; while there is none they are dropped, as QEMU drops them."""

    def __init__(self, sock: socket.socket) -> None:
        listening = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        self._listener = sock if listening else None
        self._peer = None if listening else sock
        self._waiting = bytearray()
        self.left = False  # an owner has gone; there may be another one
        if not listening:
            sock.setblocking(False)

    def wait(self) -> None:
        """Wait for the first owner."""
        if self._listener is not None:
            self._accept()

    def fileno(self) -> int:
        """What to poll: the owner, or the place where one will come; -1 when it has left for good."""
        at = self._peer or self._listener
        return at.fileno() if at is not None else -1

    def mask(self, *, reading: bool) -> int:
        """For poll()."""
        if self._peer is None:
            return select.POLLIN
        return (select.POLLIN if reading else 0) | (select.POLLOUT if self._waiting else 0)

    @property
    def room(self) -> bool:
        """Whether more may be put."""
        return len(self._waiting) < HIGH_WATER

    @property
    def idle(self) -> bool:
        """Whether all that was put has left."""
        return not self._waiting

    def put(self, data: bytes) -> None:
        """Queue bytes, and send what goes without waiting."""
        if self._peer is not None:
            self._waiting += data
            self._flush()

    def turn(self) -> bytes:
        """After poll() named us: send, and return what the owner sent."""
        if self._peer is None:
            self._accept()
            return b""
        self._flush()
        if self._peer is None:
            return b""
        try:
            data = self._peer.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._left()
        return data

    def hang_up(self) -> None:
        """There is nothing behind this any more: the owner is to hear of it, and one that comes at that moment, too."""
        while self._peer is not None:
            self._left()

    def _accept(self) -> None:
        assert self._listener is not None
        self._peer = self._listener.accept()[0]
        self._peer.setblocking(False)

    def _flush(self) -> None:
        assert self._peer is not None
        try:
            while self._waiting:
                del self._waiting[: self._peer.send(self._waiting[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self._left()

    def _left(self) -> None:
        assert self._peer is not None
        self._peer.close()
        self._peer = None
        self.left = True
        self._waiting.clear()
        if self._listener is not None:
            next_one = select.poll()
            next_one.register(self._listener, select.POLLIN)
            if next_one.poll(0):
                self._accept()
