# SPDX-License-Identifier: MIT
"""A guest's state between a hypervisor's socket and a line. The guest stands still meanwhile, so that it is read at
once, into memory, and sent as the line has room."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from floe.hosts.line import PIECE, Channel, Kind, Line
from floe.hosts.pages import Packer, StatePacker
from floe.stream.link import Link


class StateSender:
    """Takes a state at the socket `entrance`, which is the caller's to close, and sends it."""

    def __init__(self, line: Line, vm: int, packer: Packer, loop: asyncio.AbstractEventLoop) -> None:
        ours, self.entrance = socket.socketpair()
        self._line = line
        self._vm = vm
        self._packer = StatePacker(packer)
        self._spool = bytearray()
        self._over = False
        self._more = asyncio.Event()
        self._link = Link(ours.detach(), loop)
        self._link.on_data = self._came
        self._link.on_end = self._ended
        self._link.resume()

    async def run(self) -> None:
        """Until all of it is sent, or the line has ended."""
        try:
            while not (self._over and not self._spool):
                await self._more.wait()
                piece = bytes(self._spool[:PIECE])
                del self._spool[:PIECE]
                if not self._spool and not self._over:
                    self._more.clear()
                self._send(self._packer.pack(piece))
                await self._line.room()
            self._send(self._packer.rest())
            self._line.send(Kind.END, self._vm, stream=Channel.STATE)
        finally:
            self._link.close()

    def _send(self, packed: bytes) -> None:
        if packed:
            self._line.send(Kind.DATA, self._vm, packed, Channel.STATE)

    def _came(self, data: bytes) -> None:
        self._spool += data
        self._more.set()

    def _ended(self) -> None:
        self._over = True
        self._more.set()


class StateSink:
    """Writes a state that comes over a line to a socket, which becomes ours."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.on_done: Callable[[], None] = lambda: None
        self._link = Link(sock.detach(), loop)
        self._link.on_room = self._look
        self._over = False

    def data(self, state: bytes) -> None:
        """The next bytes, unpacked."""
        self._link.send(state)

    def end(self) -> None:
        """There are no more: close it once all is taken."""
        self._over = True
        self._look()

    def close(self) -> None:
        """Let go of it."""
        self._link.close()

    def _look(self) -> None:
        if self._over and not self._link.queued and not self._link.closed:
            self._link.close()
            self.on_done()
