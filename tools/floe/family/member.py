# SPDX-License-Identifier: MIT
"""One VM of a family: its channel, and what is sent there now or later. What frames mean is decided in family.py."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from floe.errors import VmError
from floe.family import cards
from floe.family.copies import PrivateDisks
from floe.family.frames import BrokenFrame, Decoder, Frame, Kind, encode, numbers
from floe.spec.vmspec import VmSpec
from floe.stream.link import Link

CARD_KINDS = ("user",)  # what a copy can have of its own
_HIGH = 1 << 18  # bytes queued for a guest at which no more is read of it


class Machine(Protocol):
    """What a family needs of a VM that runs."""

    spec: VmSpec

    def copies(self) -> bool:
        """Whether its hypervisor can copy a running VM."""

    async def send_copy(self, sock: socket.socket, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Stand still, call `meanwhile`, send all of the guest's state there, and go on, come what may. Raises
        VmError."""

    def end_at_once(self) -> None:
        """Begin to end it; its end is told as any other."""


class Copy(Machine, Protocol):
    """A VM that is a copy of another one."""

    ram: int  # descriptor of the file that is to be its guest's memory; -1: memory of its own
    on_channel: Callable[[socket.socket], None]
    on_over: Callable[[int], None]  # it has ended, with this status of waitpid()

    def start(self) -> None:
        """Start its hypervisor, in which nothing runs yet. Raises FloeError."""

    async def expect_copy(self) -> socket.socket:
        """Wait until it can take the guest's state, and return where to. Raises VmError."""

    async def run_copy(self) -> None:
        """Wait until the state is there, and let the guest run. Raises VmError."""

    @property
    def version(self) -> str:
        """The hypervisor's, once it waits."""

    async def devices(self) -> bytes:
        """Instead: wait until the state is there, and return all of it but the guest's memory. Raises VmError."""


# Makes the VM in which a copy will run: of whom, its name, its disks.
MakeCopy = Callable[[Machine, str, PrivateDisks], Copy]


class Unplaced(VmError):
    """A copy cannot be where it was to be. number: the errno for whoever has called fork()."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class Elsewhere(Protocol):
    """Makes copies on other hosts."""

    def make(self, host: str, original: Machine, name: str, disks: PrivateDisks) -> Copy:
        """A machine there. Raises Unplaced."""

    def close(self) -> None:
        """The family is over."""


class Member:
    """A VM in a family. `host`: where it runs, "" for here. `frozen` is set when the guest says FROZEN."""

    def __init__(self, pid: int, ppid: int, name: str, machine: Machine) -> None:
        self.pid = pid
        self.ppid = ppid
        self.name = name
        self.machine = machine
        self.host = ""
        self.born = False  # its fork is over
        self.greeted = asyncio.Event()  # its guest listens
        self.born_at = 0.0  # time.time()
        self.leaving = False  # it was asked to end
        self.status: int | None = None  # of waitpid(), once it has ended
        self.disks = PrivateDisks(())  # its own, if it is a copy
        self.prepared = False  # its FROZEN is still to come, be it after the fork was given up
        self.frozen = asyncio.Event()
        self.forking: asyncio.Task[None] | None = None
        self.on_frame: Callable[[Frame], None] = lambda frame: None
        self.on_broken: Callable[[str], None] = lambda problem: None
        self._link: Link | None = None
        self._decoder = Decoder()
        self._held: list[bytes] | None = None

    def connect(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Its channel, which becomes ours: a new one after each start of its hypervisor."""
        self.close()
        self._decoder = Decoder()
        self._held = None
        self.prepared = False
        self.greeted.clear()
        self._link = link = Link(sock.detach(), loop)
        link.on_data = self._arrived
        link.on_end = self.close
        link.on_room = self._has_room
        link.resume()

    def send(self, kind: Kind, payload: bytes = b"", channel: int = 0) -> None:
        """Send a frame, or keep it while the channel must be silent."""
        frame = encode(kind, payload, channel)
        if self._held is not None:
            self._held.append(frame)
        elif self._link is not None:
            self._link.send(frame)
            if self._link.queued > _HIGH:
                self._link.pause()

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal that its script may answer by going on."""
        self.leaving = True
        self.send(Kind.SIGNAL, numbers(number))

    @property
    def is_reached(self) -> bool:
        """Whether there is a channel to its guest."""
        return self._link is not None

    def hold(self) -> None:
        """From here on nothing is sent."""
        self._held = [] if self._held is None else self._held

    def release(self, kind: Kind, payload: bytes) -> None:
        """Send this, then what was held back."""
        held, self._held = self._held or [], None
        self.send(kind, payload)
        for frame in held:
            if self._link is not None:
                self._link.send(frame)

    def identity(self) -> str:
        """What makes it a machine of its own."""
        return identity(self.pid, self.ppid, replace(self.machine.spec, name=self.name))

    def finish(self) -> None:
        """Its hypervisor has ended: hear what was sent before, which the kernel still has."""
        if self._link is not None:
            self._link.read_now()

    def close(self) -> None:
        """Nothing is sent or heard any more."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _arrived(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                if self._link is None:
                    return
                self.on_frame(frame)
        except BrokenFrame as e:
            self.close()
            self.on_broken(str(e))

    def _has_room(self) -> None:
        if self._link is not None and self._link.queued <= _HIGH:
            self._link.resume()


def identity(pid: int, ppid: int, spec: VmSpec) -> str:
    """What a copy is told, to be a machine of its own (port/hal/copied.c)."""
    own = {
        "pid": pid,
        "ppid": ppid,
        "name": spec.name,
        "uuid": spec.uuid,
        "seed": os.urandom(32).hex(),
        "wall": time.time_ns(),
        **cards.identity(spec.cards),
    }
    return "".join(f"{key}={value}\n" for key, value in own.items())
