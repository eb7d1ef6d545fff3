# SPDX-License-Identifier: MIT
"""A connected socket here and one at the other end of a line, joined. Each side has at most WINDOW bytes under way that
the other one's reader has not taken; the end of one is the end of the other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from floe.hosts.line import PIECE, BrokenLine, Kind, Line
from floe.stream.link import Link

WINDOW = 256 << 10
_MOST = 4 * WINDOW  # bytes that wait here: a side that keeps to WINDOW sends a piece more at most


class Tunnel:
    """One end of it. Owns the socket."""

    def __init__(
        self, sock: socket.socket, line: Line, loop: asyncio.AbstractEventLoop, place: tuple[int, int]
    ) -> None:
        """place: the VM's number and the stream's."""
        self.on_closed: Callable[[], None] = lambda: None  # after end(), once all is taken
        self._line = line
        self._vm, self._stream = place
        self._link = link = Link(sock.detach(), loop)
        self._under_way = 0
        self._came = 0  # bytes from the line
        self._told = 0  # of them, what TOOK has told
        self._ending = False
        link.on_data = self._said
        link.on_end = self._left
        link.on_room = self._passed_on
        link.resume()

    def data(self, payload: bytes) -> None:
        """Bytes from the other side. Raises BrokenLine."""
        if self._link.queued > _MOST:
            raise BrokenLine(f"more than {WINDOW} bytes that nobody has taken")
        self._came += len(payload)
        self._link.send(payload)
        self._passed_on()

    def took(self, count: int) -> None:
        """The other side has passed on so much."""
        self._under_way -= count
        if self._under_way < WINDOW:
            self._link.resume()

    def end(self) -> None:
        """The other side's socket has ended: close ours once all is taken; what comes from it is nobody's."""
        self._ending = True
        self._link.resume()
        self._passed_on()
        if self._link.closed:
            self.on_closed()

    def finish(self) -> None:
        """The socket's other end is gone: send what the kernel still has of it, and tell that this was all."""
        if not self._link.closed:
            self._link.read_now()
            self._left()

    def close(self) -> None:
        """Let go of the socket."""
        self._link.close()

    def _said(self, data: bytes) -> None:
        if self._ending:
            return
        for at in range(0, len(data), PIECE):
            self._line.send(Kind.DATA, self._vm, data[at : at + PIECE], self._stream)
        self._under_way += len(data)
        if self._under_way >= WINDOW:
            self._link.pause()

    def _left(self) -> None:
        self._link.close()
        if self._ending:
            self.on_closed()
        else:
            self._line.send(Kind.END, self._vm, b"", self._stream)

    def _passed_on(self) -> None:
        queued = self._link.queued
        if count := self._came - self._told - queued:
            self._told += count
            self._line.send(Kind.TOOK, self._vm, count.to_bytes(4, "little"), self._stream)
        if self._ending and not queued and not self._link.closed:
            self._link.close()
            self.on_closed()
