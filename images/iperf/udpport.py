# SPDX-License-Identifier: MIT
"""A UDP port of which each client gets a socket of its own, connected to it: datagrams need no look at addresses."""

import asyncio
import socket
from asyncio import core

from flow import udp_socket

_FIRST = 65507  # bytes of a first datagram


class UdpPort:
    """Calls greet(first_datagram, address, open) for datagrams of who has no socket yet; open() gives it one."""

    def __init__(self, port: int, greet: object) -> None:
        self.port = port
        self._greet = greet
        self._tasks: list = []
        self._socks: list = []

    def start(self) -> None:
        """On both families, if there are both. Raises OSError."""
        for family in (socket.AF_INET6, socket.AF_INET):
            try:
                self._socks.append(udp_socket(family, self.port))
            except OSError:  # no such family, or the other one serves it too
                if family == socket.AF_INET and not self._socks:
                    raise
                continue
            self._tasks.append(asyncio.create_task(self._listen(self._socks[-1], family)))

    async def _listen(self, sock: socket.socket, family: int) -> None:
        while True:
            yield core._io_queue.queue_read(sock)
            try:
                data, address = sock.recvfrom(_FIRST)
                self._greet(data, address, lambda address=address: udp_socket(family, self.port, address))
            except OSError:  # nothing there after all, or no memory for one more: the client comes again
                await asyncio.sleep_ms(10)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for sock in self._socks:
            sock.close()
