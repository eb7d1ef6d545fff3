# SPDX-License-Identifier: MIT
"""A family whose machines are played, for tests: the channels between them and the family are real."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from floe.errors import VmError
from floe.family.copies import PrivateDisks
from floe.family.family import Family
from floe.family.frames import Kind, encode
from floe.spec.vmspec import VmSpec

WAIT_S = 20.0
SPEC = VmSpec(Path("x.elf"), memory=1 << 20, children=3)


class Machine:
    """A VM as a family sees it, and the guest's end of its channel."""

    def __init__(self, spec: VmSpec, fails: str = "") -> None:
        self.spec = spec
        self.fails = fails  # at this step
        self.can_copy = True
        self.said: list[str] = []
        self.on_channel: Callable[[socket.socket], None] = lambda sock: None
        self.on_over: Callable[[int], None] = lambda status: None
        self.ended = 0

    def _step(self, name: str) -> None:
        self.said.append(name)
        if self.fails == name:
            raise VmError(f"{name} fails")

    def copies(self) -> bool:
        return self.can_copy

    def start(self) -> None:
        self._step("start")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.guest = ours
        self.on_channel(theirs)

    async def expect_copy(self) -> socket.socket:
        self._step("expect_copy")
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours

    async def send_copy(self, sock: socket.socket, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._step("send_copy")
        await meanwhile()

    async def run_copy(self) -> None:
        self._step("run_copy")

    def end_at_once(self) -> None:
        self.ended += 1
        if self.ended == 1:
            asyncio.get_running_loop().call_soon(self.on_over, int(signal.SIGKILL))

    # ---- the guest

    async def say(self, kind: Kind, payload: bytes = b"", channel: int = 0) -> None:
        await asyncio.get_running_loop().sock_sendall(self.guest, encode(kind, payload, channel))

    async def hear(self) -> tuple[Kind, bytes]:
        length, kind, _, _ = struct.unpack("<IBxHI", await self._read(12))
        return Kind(kind), await self._read(length)

    async def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            async with asyncio.timeout(WAIT_S):
                more = await asyncio.get_running_loop().sock_recv(self.guest, count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    async def fork(self) -> int:
        """What the guest's fork() comes to in the parent."""
        await self.say(Kind.FORK)
        kind, payload = await self.hear()
        if kind is Kind.PREPARED:
            await self.say(Kind.FROZEN)
            kind, payload = await self.hear()
        assert kind is Kind.RESULT
        return int(struct.unpack("<i", payload)[0])


class Kin:
    """A family, its first VM, and the others in the order of their births."""

    def __init__(self, spec: VmSpec = SPEC, fails: str = "", spared: int = 0) -> None:
        self.lines: list[str] = []
        self.top = Machine(spec, fails if fails == "send_copy" else "")
        self.others: list[Machine] = []
        self.fails = fails
        self.spared = spared  # so many of the others do not fail
        self.told: list[str] = []  # names of children
        self.over = asyncio.Event()
        self.family = Family(self.top, "app", make=self._make, loop=asyncio.get_running_loop(), say=self.lines.append)
        self.family.on_over = self.over.set
        self.family.on_child = lambda name, machine: self.told.append(name)
        self.top.on_channel = self.family.connect
        self.top.start()

    def _make(self, original: object, name: str, disks: PrivateDisks) -> Machine:
        assert isinstance(original, Machine)
        fails = self.fails if len(self.others) >= self.spared else ""
        self.others.append(Machine(replace(original.spec, name=name, uuid=f"uuid of {name}"), fails))
        return self.others[-1]
