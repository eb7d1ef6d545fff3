# SPDX-License-Identifier: MIT
"""A running VM's state out of its QEMU and into another one that waits for it, by QMP's migration commands."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from floe.errors import VmError
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
                return await self.commands.ask("cont")
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
