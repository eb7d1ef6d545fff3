# SPDX-License-Identifier: MIT
"""VMs for connections that go on from one template at its vm.ready(), instead of being booted (floe.vm.pool)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

from floe.errors import EXIT_OK, FloeError
from floe.serve.joined import Streams
from floe.serve.starts import Starts
from floe.vm.pool import Pool
from floe.vm.restored import Restored
from floe.vm.vm import STOP_GRACE_S

_HERE = "127.0.0.1"


class Clone:
    """A VM that was claimed, and listens since before it was made."""

    def __init__(self, vm: Restored, starts: Starts) -> None:
        self.name = vm.spec.name
        self.console = vm.console
        self.serial = vm.serial
        self.over = asyncio.Event()
        self._vm = vm
        self._starts = starts
        self._leaving = False  # it was asked to end
        vm.on_launch = self._started_again
        self._end = starts.loop.create_task(self._ended())

    async def connect(self, port: int) -> Streams:
        """A connection to a port of the guest. Raises OSError."""
        return await asyncio.open_connection(_HERE, self._vm.ports[port])

    async def leave(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ask the guest to end, as Ctrl-C does, and end it after grace_s."""
        if not self.over.is_set():
            self._leaving = True
            self._vm.ask_to_end()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.over.wait()
        await self.drop()

    async def drop(self) -> None:
        """End it at once."""
        self.end_at_once()
        await self.over.wait()

    def end_at_once(self) -> None:
        """Begin to end it."""
        if not self.over.is_set():
            self._leaving = True
            self._vm.end_at_once()

    def _started_again(self) -> None:
        """After machine.reset(): its streams are new ones."""
        self.console, self.serial = self._vm.console, self._vm.serial
        self._starts.on_output(self)

    async def _ended(self) -> None:
        await self._vm.ended()
        outcome = self._vm.outcome
        if not self._leaving and (outcome is None or outcome.code != EXIT_OK):
            how = f"it ended with {outcome.code}, {outcome.cause}" if outcome else "its hypervisor failed"
            self._starts.say(f"{self.name}: {how}")
        self._vm.close()
        self.over.set()


class Clones:
    """Copies of one VM, once it has been at vm.ready(): then every connection has one, or waits until it is made."""

    def __init__(self, starts: Starts, size: int) -> None:
        """Raises UsageError for an image that cannot be copied."""
        self._starts = starts
        own = tuple(replace(f, address=_HERE, host_port=0, through=0) for f in starts.spec.forwards)
        self._pool = Pool(replace(starts.spec, forwards=own), size, blobs=starts.blobs, say=starts.say)
        self._starting: asyncio.Task[None] | None = None
        self._there = False

    @property
    def ready(self) -> int:
        """How many wait."""
        return self._pool.ready

    def start(self, failed: Callable[[], None]) -> None:
        """Begin with the template; failed: it was never there, as the user was told."""

        async def start() -> None:
            try:
                await self._pool.start()
                self._there = True
            except FloeError as e:
                self._starts.say(f"{e.message}: its VMs are booted instead" + (f" (try: {e.hint})" if e.hint else ""))
                failed()

        self._starting = self._starts.loop.create_task(start())

    async def claimed(self) -> Clone | None:
        """One that runs; None while the template is not ready. Raises FloeError."""
        if not self._there:
            return None
        return Clone(await self._pool.claim(), self._starts)

    async def close(self) -> None:
        """End the template and all that wait."""
        if self._starting is not None:
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._starting
        await self._pool.close()
