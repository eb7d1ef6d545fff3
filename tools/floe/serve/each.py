# SPDX-License-Identifier: MIT
"""A VM for each connection, which ends with it: `floe serve --per-connection`."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque

from floe.errors import FloeError
from floe.serve.behind import Behind
from floe.serve.clones import Clone, Clones
from floe.serve.joined import Streams
from floe.serve.machine import Machine
from floe.serve.starts import Refused, Starts

WAITING = 128  # connections that wait for another one's end; one more is reset
WAIT_S = 60.0  # how long each of them does
_SOON_S = 0.05  # from a claim to the start of the next VM, which takes processors from the one that was claimed


class Each:
    """VMs are called NAME-1, NAME-2, ...; `ahead` of them wait for a connection each."""

    def __init__(self, starts: Starts, most: int, ahead: int = 0) -> None:
        self._starts = starts
        self._most = most
        self._ahead = self._wanted = ahead
        self._unused: deque[Machine] = deque()
        self._clones: Clones | None = None  # of an image that forks, they are what waits
        if ahead and starts.spec.children is not None:
            self._clones, self._ahead = Clones(starts, min(ahead, most)), 0
        elif ahead:
            starts.say(
                f"{starts.spec.name} does not fork: VMs are booted ahead, not copied (fork = true in image.toml)"
            )
        self._soon: asyncio.TimerHandle | None = None  # the start of further ones
        self._places = 0  # that are taken
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._machines: set[Behind] = set()
        self._number = 0
        self._full = False  # the user knows
        self._closed = False

    async def connect(self, port: int) -> tuple[Behind, Streams]:
        """A connection to a VM of its own. Each that was made is given back by done(). Raises FloeError, OSError."""
        await self._place()
        machine: Behind | None = None
        try:
            machine = await self._copied() or self._claimed() or self._started()
            return machine, await machine.connect(port)
        except BaseException:
            await self._leave(machine)
            raise
        finally:
            self._prepare_soon()

    async def done(self, machine: Behind) -> None:
        """Its connection is over."""
        await self._leave(machine)
        self._prepare_soon()

    def prepare(self) -> None:
        """Begin to have those that wait."""
        if self._clones is not None:
            self._clones.start(self._is_without_clones)
        self._fill()

    def _is_without_clones(self) -> None:
        self._ahead, self._clones = self._wanted, None
        self._fill()

    async def _copied(self) -> Clone | None:
        """A copy; None where there is none, of which the user knows."""
        try:
            clone = await self._clones.claimed() if self._clones is not None else None
        except FloeError as e:
            self._starts.say(f"{self._starts.spec.name} cannot be copied: {e.message}; this connection has a booted VM")
            return None
        if clone is not None:
            self._machines.add(clone)
            self._starts.on_output(clone)
        return clone

    def _fill(self) -> None:
        """Start those that wait, where it may be."""
        self._soon = None
        try:
            while (
                len(self._unused) < self._ahead
                and self._places + len(self._unused) < self._most
                and self._starts.has_room()
                and not self._closed
            ):
                self._unused.append(self._started())
        except Refused:
            pass  # the next connection tries it again

    async def close(self, grace_s: float) -> None:
        """End all VMs, in order if there is time for it."""
        self._refuse_all()
        ends = [machine.leave(grace_s) for machine in self._machines]
        if self._clones is not None:
            ends.append(self._clones.close())
        await asyncio.gather(*ends)

    def kill(self) -> None:
        """Begin to end all VMs at once."""
        self._refuse_all()
        for machine in self._machines:
            if not machine.over.is_set():
                machine.end_at_once()

    def _prepare_soon(self) -> None:
        if self._soon is None and self._ahead:
            self._soon = self._starts.loop.call_later(_SOON_S, self._fill)

    def _started(self) -> Machine:
        """Raises Refused."""
        self._number += 1
        machine = self._starts.start(f"{self._starts.spec.name}-{self._number}", str(uuid.uuid4()))
        self._machines.add(machine)
        return machine

    def _claimed(self) -> Machine | None:
        """The one that has waited longest; none of those that have ended meanwhile."""
        while self._unused:
            machine = self._unused.popleft()
            if not machine.over.is_set():
                return machine
            self._machines.discard(machine)
        return None

    def _refuse_all(self) -> None:
        self._closed = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(Refused("floe serve ends"))

    async def _place(self) -> None:
        """Wait for a place among those that may be. Raises Refused."""
        if self._closed:
            raise Refused("floe serve ends")
        if not self._waiting and self._is_room():
            self._places += 1
            return
        if len(self._waiting) >= WAITING:
            self._tell(f"{self._places} VMs run and {WAITING} connections wait: more are reset (--max)")
            raise Refused("too many wait")
        if not self._places:
            self._tell("this machine has no memory left for a VM: connections are reset")
            raise Refused("no memory")
        place = self._starts.loop.create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(WAIT_S):
                await place
        except TimeoutError:
            if place.done() and not place.cancelled() and place.exception() is None:
                return  # it was given in the very moment
            self._tell(f"connections wait for more than {WAIT_S:g} s, and are reset (--max)")
            raise Refused("it waited too long") from None
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._give_back()
            raise
        finally:
            if place in self._waiting:
                self._waiting.remove(place)

    def _is_room(self) -> bool:
        waits = bool(self._unused) or (self._clones is not None and self._clones.ready > 0)
        return self._places < self._most and (waits or self._starts.has_room())

    async def _leave(self, machine: Behind | None) -> None:
        """It is thrown away."""
        if machine is not None:
            try:
                await machine.drop()
            finally:
                self._machines.discard(machine)
        self._give_back()

    def _give_back(self) -> None:
        """A place, to who waits for it longest."""
        self._places -= 1
        self._full = False
        while self._waiting and (self._is_room() or not self._places):
            waiting = self._waiting.popleft()
            if not waiting.done():
                self._places += 1
                waiting.set_result(None)

    def _tell(self, text: str) -> None:
        """Once, until a place is free again."""
        if not self._full:
            self._full = True
            self._starts.say(text)
