# SPDX-License-Identifier: MIT
"""One VM for all connections, which is there while there are some and for a while after: `floe serve --idle-stop`."""

from __future__ import annotations

import asyncio

from floe.errors import VmError
from floe.serve.behind import Behind
from floe.serve.joined import Streams
from floe.serve.machine import Machine
from floe.serve.starts import Refused, Starts


class Idle:
    """No VM, or one."""

    def __init__(self, starts: Starts, idle_s: float) -> None:
        self._starts = starts
        self._idle_s = idle_s
        self._machine: Machine | None = None
        self._open = 0  # connections, those that wait among them
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._closed = False

    async def connect(self, port: int) -> tuple[Behind, Streams]:
        """A connection to the VM, which is started where there is none. Each that was made is given back by done().
        Raises FloeError, OSError."""
        self._open += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            while True:
                machine = await self._there()
                try:
                    return machine, await machine.connect(port)
                except VmError:
                    if not machine.listened or not machine.over.is_set():
                        raise
        except BaseException:
            self._left()
            raise

    async def done(self, machine: Behind) -> None:
        """A connection is over."""
        self._left()

    def prepare(self) -> None:
        """Nothing is started ahead."""

    async def close(self, grace_s: float) -> None:
        """End the VM, in order if there is time for it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._machine is not None:
            await self._machine.leave(grace_s)

    def kill(self) -> None:
        """Begin to end the VM at once."""
        self._closed = True
        if self._machine is not None and not self._machine.over.is_set():
            self._machine.end_at_once()

    async def _there(self) -> Machine:
        """Raises FloeError."""
        while True:
            machine = self._machine
            if machine is not None and machine.leaving:
                await machine.over.wait()
            if machine is None or machine.over.is_set():
                if self._closed:
                    raise Refused("floe serve ends")
                if self._machine is not machine:
                    continue  # another connection was faster
                spec = self._starts.spec
                self._machine = machine = self._starts.start(spec.name, spec.uuid)
            return machine

    def _left(self) -> None:
        self._open -= 1
        if not self._open and self._machine is not None and not self._closed:
            self._timer = self._starts.loop.call_later(self._idle_s, self._stop)

    def _stop(self) -> None:
        """Nobody has asked for long."""
        self._timer = None
        if self._machine is not None and not self._machine.over.is_set():
            self._machine.leaving = True
            self._ending = self._starts.loop.create_task(self._machine.leave())
