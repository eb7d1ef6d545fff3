# SPDX-License-Identifier: MIT
"""A running VM's state out of its QEMU and into another one that waits for it, by QMP's migration commands."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from floe.errors import VmError
from floe.qemu.commandline import CHOICE
from floe.qemu.qmp import Commands

_DEADLINE_S = 20.0
_CANCEL_S = 5.0
_BANDWIDTH = 1 << 36  # bytes a second: within one machine it is only a limit
_UP_S = 15.0  # from the start of QEMU to its first answer, on a busy machine
_FD = "floe.copy"
_FINISH_S = 5.0  # how long it is asked to go on
_OVER = ("completed", "failed", "cancelled")


class StandsStill(VmError):
    """The guest that was to be copied could not be made to go on."""


class Copying:
    """One QEMU's part in copying: as the one that gives or the one that takes."""

    def __init__(self) -> None:
        self.commands = Commands()
        self._still = False  # STOP and RESUME are of our doing
        self._moved: asyncio.Future[str] | None = None
        self._ready = False  # it tells events of a migration, and does not slow it down

    def took(self, name: str, data: Mapping[str, Any]) -> bool:
        """Whether an event of QEMU's was for us alone."""
        if name == "MIGRATION":
            status = str(data.get("status", ""))
            if self._moved is not None and not self._moved.done() and status in _OVER:
                self._moved.set_result(status)
            return True
        return self._still and name in ("STOP", "RESUME")

    def ended(self) -> None:
        """QEMU has ended: nothing more will be told."""
        if self._moved is not None and not self._moved.done():
            self._moved.set_result("its QEMU ended")

    async def send(self, fd: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Stop the guest, call `meanwhile`, write its state to this socket, and let it go on whatever happens. Raises
        VmError and what `meanwhile` does; StandsStill where it does not go on."""
        ask = self.commands.ask
        await self._make_ready()
        await self.commands.give(_FD, fd)  # whether it is used or not, the next one takes its place
        self._still = True
        try:
            await ask("stop")
            await meanwhile()
            self._moved = asyncio.get_running_loop().create_future()
            try:
                await ask("migrate", {"uri": f"fd:{_FD}"})
                await self._wait()
            except BaseException:
                await self._cancel()
                raise
        finally:
            try:
                await self._go_on()
            finally:
                self._still = False

    async def expect(self, fd: int) -> None:
        """Wait for a guest's state at this descriptor, which QEMU has inherited. Raises VmError."""
        await self._make_ready(_UP_S)
        self._moved = asyncio.get_running_loop().create_future()
        await self.commands.ask("migrate-incoming", {"uri": f"fd:{fd}"})

    async def run(self) -> None:
        """Once the state is there, let the guest run. Raises VmError."""
        await self._wait()
        await self.commands.ask("cont")

    async def devices(self) -> bytes:
        """Of a guest that comes by expect() and will not run here: its state without its memory, once all of it is
        there. Raises VmError."""
        await self._wait()
        await self._leave_memory(True)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                await self.commands.give(_FD, theirs.fileno())
            self._moved = asyncio.get_running_loop().create_future()
            await self.commands.ask("migrate", {"uri": f"fd:{_FD}"})
            try:
                state = await _all_of(ours)
            except TimeoutError:
                raise VmError("QEMU does not write the state out") from None
        await self._wait()
        return state

    async def load(self, devices: bytes, version: str) -> None:
        """Take what devices() of a QEMU of this version gave, into one whose guest's memory is a file. Nothing runs
        until run(). Raises VmError."""
        await self._make_ready(_UP_S)
        if self.commands.version != version:
            raise VmError(
                f"the state of a guest of QEMU {version} cannot go on in QEMU {self.commands.version}",
                hint=f"{CHOICE}=PATH chooses another QEMU; or make the snapshot anew",
            )
        await self._leave_memory(True)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                await self.commands.give(_FD, theirs.fileno())
            self._moved = asyncio.get_running_loop().create_future()
            await self.commands.ask("migrate-incoming", {"uri": f"fd:{_FD}"})
            ours.setblocking(False)
            with contextlib.suppress(ConnectionError, TimeoutError):  # it refuses the state: told as its failure
                async with asyncio.timeout(_DEADLINE_S):
                    await asyncio.get_running_loop().sock_sendall(ours, devices)
        await self._wait()
        await self._leave_memory(False)  # it may be copied in turn, as a whole

    async def _leave_memory(self, out: bool) -> None:
        """What is in a file is not a part of the guest's state."""
        alone = [{"capability": "x-ignore-shared", "state": out}]
        await self.commands.ask("migrate-set-capabilities", {"capabilities": alone})

    async def _make_ready(self, deadline_s: float = 5.0) -> None:
        if self._ready:
            return
        events = [{"capability": "events", "state": True}]
        await self.commands.ask("migrate-set-capabilities", {"capabilities": events}, deadline_s=deadline_s)
        await self.commands.ask("migrate-set-parameters", {"max-bandwidth": _BANDWIDTH})
        self._ready = True

    async def _go_on(self) -> None:
        """QEMU tells that a migration is complete milliseconds before it lets the guest go on, and nothing then: it is
        asked again and again."""
        deadline = time.monotonic() + _FINISH_S
        while True:
            try:
                await self.commands.ask("cont")
                return
            except VmError as e:
                if self.commands.over or time.monotonic() > deadline:
                    raise StandsStill(e.message) from None

    async def _wait(self) -> None:
        assert self._moved is not None
        try:
            status = await asyncio.wait_for(asyncio.shield(self._moved), _DEADLINE_S)
        except TimeoutError:
            status = "it takes too long"
        if status != "completed":
            raise VmError(f"the guest's state was not carried over: {status}")

    async def _cancel(self) -> None:
        """Have a migration end that is under way, so that the guest may go on."""
        assert self._moved is not None
        if not self._moved.done():
            with contextlib.suppress(VmError, TimeoutError):
                await self.commands.ask("migrate_cancel")
                await asyncio.wait_for(asyncio.shield(self._moved), _CANCEL_S)


async def _all_of(sock: socket.socket) -> bytes:
    """What is written to the other end until it is closed."""
    sock.setblocking(False)
    found = bytearray()
    async with asyncio.timeout(_DEADLINE_S):
        while data := await asyncio.get_running_loop().sock_recv(sock, 1 << 20):
            found += data
    return bytes(found)
