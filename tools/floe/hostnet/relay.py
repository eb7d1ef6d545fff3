# SPDX-License-Identifier: MIT
"""Ports of this machine that reach a guest's where no hypervisor forwards them: a dom0's, what QEMU's user network
cannot forward (ports.py), and those that are spread over a family of VMs. A thread of this process carries the bytes.
No rule of the machine's firewall is touched, and nothing is left when the process dies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from floe.errors import FloeError
from floe.hostnet.balance import Balance, Target
from floe.hostnet.carry import Client, reset, room
from floe.spec import ports
from floe.spec.ports import Forward

_CHUNK = 1 << 16
_CLOSE_S = 10.0
_BACKLOG = 128
_WAY_BYTES = socket.CMSG_SPACE(20)  # in6_pktinfo, the larger of the two
_CLIENTS = 256  # of UDP, each with a port of its own towards the guest; the one heard of longest ago makes room


_carrying: set[asyncio.Task[None]] = set()

_Family = Callable[[int], Sequence[Target]]  # where the others of a family have a TCP port of the guest's
_Asker = tuple[Any, ...]  # address as recvmsg() has it
_Way = list[tuple[int, int, bytes]]  # control message that says by which of our addresses


class Relay:
    """Carries from the beginning of its life until close()."""

    def __init__(self, forwards: Mapping[Forward, Target], family: _Family = lambda guest_port: ()) -> None:
        """Forwards, and where their bytes go; family: for those that are spread, called by the relay's thread. Raises
        FloeError when a port cannot be had."""
        self._ways: list[tuple[socket.socket, Balance]] = []
        for forward, target in forwards.items():
            try:
                others = partial(family, forward.guest_port) if forward.spread else tuple
                self._ways.append((ports.open_socket(forward, backlog=_BACKLOG), Balance(target, others)))
            except OSError as e:
                for sock, _ in self._ways:
                    sock.close()
                raise FloeError(
                    f"cannot listen on {forward.place()}: {e.strerror}", hint="another port of the host"
                ) from e
        self._room = room()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it, with all its connections."""
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        async def run() -> None:
            kinds = {socket.SOCK_STREAM: self._streams, socket.SOCK_DGRAM: self._datagrams}
            async with asyncio.TaskGroup() as tasks:
                for sock, balance in self._ways:
                    sock.setblocking(False)
                    tasks.create_task(kinds[sock.type](sock, balance))

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(run())

    # ---- TCP ----------------------------------------------------------------------------------------

    async def _streams(self, sock: socket.socket, balance: Balance) -> None:
        own: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(_carrying) >= self._room:
                reset(writer)
                return
            task = self._loop.create_task(_carry(Client(reader, writer), balance))
            for tasks in (own, _carrying):
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accepted, sock=sock, backlog=_BACKLOG)
        await self._over.wait()
        server.close()
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)

    # ---- UDP ----------------------------------------------------------------------------------------

    async def _datagrams(self, sock: socket.socket, balance: Balance) -> None:
        target = balance.first
        clients: OrderedDict[_Asker, tuple[socket.socket, _Way]] = OrderedDict()

        def forget(client: _Asker) -> None:
            gone, _ = clients.pop(client)
            self._loop.remove_reader(gone)
            gone.close()

        def answer(client: _Asker) -> None:
            ours, way = clients[client]
            with contextlib.suppress(OSError):  # what UDP loses, it loses
                sock.sendmsg([ours.recv(_CHUNK)], way, 0, client)

        def arrived() -> None:
            with contextlib.suppress(OSError):
                data, way, _, client = sock.recvmsg(_CHUNK, _WAY_BYTES)
                if client in clients:
                    ours, _ = clients[client]
                else:
                    if len(clients) == _CLIENTS:
                        forget(next(iter(clients)))
                    ours = _towards(target)
                    self._loop.add_reader(ours, answer, client)
                clients[client] = ours, way  # the answer comes from the address that was asked
                clients.move_to_end(client)
                ours.send(data)

        self._loop.add_reader(sock, arrived)
        await self._over.wait()
        self._loop.remove_reader(sock)
        sock.close()
        for client in list(clients):
            forget(client)


async def _carry(client: Client, balance: Balance) -> None:
    """By the first VM that takes it."""
    order = balance.order()
    try:
        for target in order:
            with balance.carrying(target):
                if await client.by(target, last=target is order[-1]):
                    return
            balance.refused(target)
    finally:
        client.end()


def through_qemu(forwards: Iterable[Forward], family: _Family = lambda guest_port: ()) -> Relay | None:
    """Carries what QEMU does not forward itself to the ports that it does; None where there is nothing to carry.
    family: as Relay's. Raises FloeError."""
    carried = {forward: ("127.0.0.1", forward.through) for forward in forwards if forward.through}
    return Relay(carried, family) if carried else None


def _towards(target: Target) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(target)
    except OSError:
        sock.close()
        raise
    return sock
