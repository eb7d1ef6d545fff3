# SPDX-License-Identifier: MIT
"""A port of a dom0 that reaches a guest's: bytes are carried by a thread of this process, from dom0's own address, as
QEMU's user network does it. No rule of the machine's firewall is touched, and nothing is left when the process dies.
Prints nothing."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
import threading
from collections import OrderedDict

from floe.errors import FloeError
from floe.ports import Forward

_CHUNK = 1 << 16
_CONNECT_S = 10.0
_BACKLOG = 128
_LAST_S = 60.0  # for the last bytes to be taken, when both have ended
_CONNECTIONS = 4096  # of all relays, and at the most half the descriptors of this process; one more is reset
_CLIENTS = 256  # of UDP, each with a port of its own towards the guest; the one heard of longest ago makes room


_carrying: set[asyncio.Task[None]] = set()


class Relay:
    """Carries from the beginning of its life until close()."""

    def __init__(self, forward: Forward, guest: str) -> None:
        """guest: its IPv4 address. Raises FloeError when the port cannot be had."""
        self._guest = (guest, forward.guest_port)
        kind = socket.SOCK_STREAM if forward.protocol == "tcp" else socket.SOCK_DGRAM
        self._sock = socket.socket(socket.AF_INET, kind)
        try:
            if kind == socket.SOCK_STREAM:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sock.bind((forward.address, forward.host_port))
            if kind == socket.SOCK_STREAM:
                self._sock.listen(_BACKLOG)
            self._sock.setblocking(False)
        except OSError as e:
            self._sock.close()
            raise FloeError(
                f"cannot listen on {forward.address}:{forward.host_port}: {e.strerror}",
                hint="another port of the host",
            ) from e
        self._room = min(_CONNECTIONS, _descriptors() // 4)
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(kind,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it, with all its connections."""
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_CONNECT_S)

    def _run(self, kind: int) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._streams() if kind == socket.SOCK_STREAM else self._datagrams())

    # ---- TCP ----------------------------------------------------------------------------------------

    async def _streams(self) -> None:
        own: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(_carrying) >= self._room:
                _reset(writer)
                return
            task = self._loop.create_task(self._carry(reader, writer))
            for tasks in (own, _carrying):
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accepted, sock=self._sock, backlog=_BACKLOG)
        await self._over.wait()
        server.close()
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both ways; the end of one is passed on, and the other goes on until it ends too."""
        writers = [writer]
        try:
            async with asyncio.timeout(_CONNECT_S):
                far_reader, far_writer = await asyncio.open_connection(*self._guest)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_copy(reader, far_writer))
                ways.create_task(_copy(far_reader, writer))
            async with asyncio.timeout(_LAST_S):
                for each in writers:
                    each.close()
                    await each.wait_closed()
        except* (OSError, TimeoutError):  # the guest does not listen, or either was reset: so is the other
            for each in writers:
                _reset(each)
        finally:
            for each in writers:
                each.transport.abort()

    # ---- UDP ----------------------------------------------------------------------------------------

    async def _datagrams(self) -> None:
        clients: OrderedDict[tuple[str, int], socket.socket] = OrderedDict()

        def forget(client: tuple[str, int]) -> None:
            gone = clients.pop(client)
            self._loop.remove_reader(gone)
            gone.close()

        def answer(client: tuple[str, int]) -> None:
            with contextlib.suppress(OSError):  # what UDP loses, it loses
                self._sock.sendto(clients[client].recv(_CHUNK), client)

        def arrived() -> None:
            with contextlib.suppress(OSError):
                data, client = self._sock.recvfrom(_CHUNK)
                if client not in clients:
                    if len(clients) == _CLIENTS:
                        forget(next(iter(clients)))
                    clients[client] = self._towards_guest()
                    self._loop.add_reader(clients[client], answer, client)
                clients.move_to_end(client)
                clients[client].send(data)

        self._loop.add_reader(self._sock, arrived)
        await self._over.wait()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for client in list(clients):
            forget(client)

    def _towards_guest(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect(self._guest)
        except OSError:
            sock.close()
            raise
        return sock


def _descriptors() -> int:
    """How many this process may have; it is allowed all that may be."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return most
    return allowed


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # SO_LINGER of 0 s: the end of a connection that has failed looks like it
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
