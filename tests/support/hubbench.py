# SPDX-License-Identifier: MIT
"""A hub with all its endpoints and no VM: a socket pair is the machine's console."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

from floe.detached.endpoints import Listener, Pty, tcp_socket, unix_socket
from floe.detached.hub import Hub
from floe.stream.link import Link
from floe.stream.logfile import BoundedLog

DEADLINE_S = 30.0


class HubBench:
    """A hub with all endpoints; `guest` is the machine's end of its console."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.log_path = folder / "console.log"
        self.log = BoundedLog(self.log_path)
        self.hub = Hub("vm", self.loop, self.log)
        self.guest, console = socket.socketpair()
        self.guest.setblocking(False)
        self.hub.connect(Link(console.detach(), self.loop))
        tcp = tcp_socket(0)
        self.port = tcp.getsockname()[1]
        self.unix = folder / "console.sock"
        self.listeners = [Listener(s, self.hub, self.loop) for s in (tcp, unix_socket(self.unix))]
        self.pty = Pty(self.hub, self.loop)
        self.hub.on_free = self.pty.console_is_free

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
        self.pty.close()
        self.guest.close()
        self.loop.close()

    def until(self, true: Callable[[], bool]) -> None:
        """Serve until it holds."""

        async def wait() -> None:
            end = self.loop.time() + DEADLINE_S
            while not true():
                assert self.loop.time() < end
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def serve(self, seconds: float = 0.05) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def by_tcp(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setblocking(False)
        return sock

    def by_unix(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.unix))
        sock.setblocking(False)
        return sock

    def by_pty(self) -> int:
        return os.open(self.pty.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def read(self, fd: int | socket.socket, size: int) -> bytes:
        """Exactly `size` bytes, or what came before the end."""
        number = fd if isinstance(fd, int) else fd.fileno()
        got = bytearray()
        ended = False

        def enough() -> bool:
            nonlocal ended
            if select.select([number], [], [], 0)[0]:
                data = os.read(number, size - len(got))
                ended = not data
                got.extend(data)
            return ended or len(got) >= size

        self.until(enough)
        return bytes(got)

    def in_use(self, fd: int | socket.socket) -> str:
        """The line that a refused client gets."""
        line = b""
        while not line.endswith(b"\n"):
            byte = self.read(fd, 1)
            assert byte, line
            line += byte
        return line.decode()
