# SPDX-License-Identifier: MIT
"""Listens for clients and carries their connections to VMs, until it is asked to end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from floe.errors import FloeError
from floe.hostnet import carry
from floe.serve import joined
from floe.serve.behind import Behind
from floe.serve.joined import Streams
from floe.spec import ports
from floe.spec.ports import Forward
from floe.vm.vm import STOP_GRACE_S

BACKLOG = 128
_LAST_S = 2.0  # for clients to take their last bytes, once all VMs have ended


class Policy(Protocol):
    """Which connection gets which VM."""

    async def connect(self, port: int) -> tuple[Behind, Streams]:
        """A VM, and a connection to this port of it, to be given back by done(). Raises FloeError, OSError."""

    async def done(self, machine: Behind) -> None:
        """A connection is over."""

    def prepare(self) -> None:
        """Begin: connections may come."""

    async def close(self, grace_s: float) -> None:
        """Start no more, and end what runs, in order if there is time for it."""

    def kill(self) -> None:
        """Begin to end what runs at once."""


class Service:
    """Owns its listening sockets."""

    def __init__(self, forwards: Sequence[Forward], policy: Policy) -> None:
        """Raises FloeError where a port cannot be had."""
        self._policy = policy
        self._carrying: set[asyncio.Task[None]] = set()
        self._asked = asyncio.Event()
        self._cut = False
        self._room = carry.room()
        self._sockets: list[tuple[socket.socket, int]] = []
        for forward in forwards:
            try:
                self._sockets.append((ports.open_socket(forward, backlog=BACKLOG), forward.guest_port))
            except OSError as e:
                self._close_sockets()
                raise FloeError(f"cannot listen on {forward.place()}: {e.strerror}", hint="another port") from e

    def stop(self) -> None:
        """Begin to end in order; a second call ends what still runs."""
        if self._asked.is_set():
            self._cut = True
            self._policy.kill()
        self._asked.set()

    async def run(self) -> bool:
        """Serve until stop(). True: it ended in order; False: it was cut short."""
        try:
            servers = [
                await asyncio.start_server(self._accept(port), sock=sock, backlog=BACKLOG)
                for sock, port in self._sockets
            ]
            await self._asked.wait()
            for server in servers:
                server.close()
            await self._policy.close(STOP_GRACE_S)
            if self._carrying:
                await asyncio.wait(self._carrying, timeout=_LAST_S)
        finally:
            self._close_sockets()
            self._policy.kill()
            for task in self._carrying:
                task.cancel()
            await asyncio.gather(*self._carrying, return_exceptions=True)
        return not self._cut

    def _close_sockets(self) -> None:
        for sock, _ in self._sockets:
            sock.close()

    def _accept(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._carrying) >= self._room:
                carry.reset(writer)
                return
            task = asyncio.get_running_loop().create_task(self._serve((reader, writer), port))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

        return accepted

    async def _serve(self, client: Streams, port: int) -> None:
        try:
            machine, guest = await self._policy.connect(port)
        except (FloeError, OSError):  # who has to know of it does
            carry.reset(client[1])
            return
        except BaseException:
            carry.reset(client[1])
            raise
        try:
            await joined.join(client, guest, machine.over)
        finally:
            with contextlib.suppress(OSError):
                await self._policy.done(machine)
