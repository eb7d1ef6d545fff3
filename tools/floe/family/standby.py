# SPDX-License-Identifier: MIT
"""A hypervisor for a copy: started, and waiting for a guest's state. Nothing of a guest is in it yet, and of which VM
it will be the copy is open. When there is one to spare is decided in family.py."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from floe.family.copies import PrivateDisks
from floe.family.member import Copy


class Standby:
    """One machine that waits, with its disks and its channel."""

    def __init__(self, machine: Copy, disks: PrivateDisks, loop: asyncio.AbstractEventLoop) -> None:
        """Start it. Raises FloeError; the disks are the caller's to close then."""
        self.machine = machine
        self.disks = disks
        self.channel: socket.socket | None = None
        self.on_over: Callable[[int], None] = lambda status: self.drop()  # as Copy.on_over
        self._taken = False
        machine.on_channel = self._keep
        machine.on_over = self._over
        machine.start()
        self._expecting = loop.create_task(machine.expect_copy())
        self._expecting.add_done_callback(self._up)

    @property
    def ready(self) -> bool:
        """Whether the state can come at once."""
        return self._expecting.done()

    def take(self) -> None:
        """A fork uses it, and ends it where that fails."""
        self._taken = True

    async def up(self) -> None:
        """Wait until the state can come. Raises VmError."""
        await asyncio.shield(self._expecting)

    async def source(self) -> socket.socket:
        """Wait until the state can come, and return where it is to be written. Raises VmError."""
        return await asyncio.shield(self._expecting)

    def drop(self) -> None:
        """It has ended and was nobody's: let go of what is here."""
        self.disks.close()
        if self.channel is not None:
            self.channel.close()
        self._expecting.add_done_callback(_close)

    def _keep(self, sock: socket.socket) -> None:
        self.channel = sock

    def _over(self, status: int) -> None:
        self.on_over(status)

    def _up(self, task: asyncio.Task[socket.socket]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._taken:
            self.machine.end_at_once()


def _close(task: asyncio.Task[socket.socket]) -> None:
    """The socket to which nobody will write."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
