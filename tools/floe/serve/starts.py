# SPDX-License-Identifier: MIT
"""Makes the VMs of one served app, and leaves it alone for a while after a start that failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from floe import hostmemory
from floe.errors import FloeError, VmError
from floe.serve.behind import Behind
from floe.serve.machine import Machine
from floe.spec import disks, handover, ports
from floe.spec.ports import Forward
from floe.spec.restart import delay_s
from floe.spec.vmspec import VmSpec
from floe.vm.vm import Vm

_DRAWS = 16  # of ports, where one is another VM's that is not there yet


class Refused(FloeError):
    """No VM is started for this connection, and whoever has to know of it does."""


class Starts:
    """`say` takes lines for the user."""

    def __init__(self, spec: VmSpec, loop: asyncio.AbstractEventLoop, say: Callable[[str], None]) -> None:
        """Takes of this host what all its VMs share. Raises what disks.provide() and handover.read() do."""
        self.spec = spec
        self.say = say
        self.on_output: Callable[[Behind], None] = lambda machine: None  # its streams are new ones
        self.loop = loop
        self._taken: set[int] = set()  # ports of this host, of VMs that have not ended
        self._pause_s = 0.0
        self._held_until = 0.0
        Vm(spec, loop=loop).preload()
        disks.provide(spec.disks)
        self.blobs = handover.read(spec.secrets, spec.env_files, dict(spec.asked))

    def has_room(self) -> bool:
        """Whether the host has memory for one more."""
        return hostmemory.has_room(self.spec.memory)

    def start(self, name: str, uuid: str) -> Machine:
        """A VM that begins to start. Raises FloeError, Refused soon after one that failed."""
        if time.monotonic() < self._held_until:
            raise Refused(f"{name} is not started so soon after a start that failed")
        try:
            if not self.has_room():
                raise VmError("this machine has no memory left for it")
            machine = Machine(
                replace(self.spec, name=name, uuid=uuid, forwards=self._forwards()), self.loop, self.blobs
            )
            machine.on_launch = lambda: self.on_output(machine)
            machine.say = self.say
            machine.start()
        except (FloeError, OSError) as e:
            self.failed()
            said = e.message if isinstance(e, FloeError) else str(e)
            self.say(f"{name} cannot be started: {said}")
            raise Refused(said) from None
        own = {forward.host_port for forward in machine.spec.forwards}
        self._taken |= own
        machine.on_over = lambda: self._ended(machine, own)
        return machine

    def failed(self) -> None:
        """A start was in vain: the next one waits, longer each time."""
        self._pause_s = delay_s(self._pause_s, 0.0)
        self._held_until = time.monotonic() + self._pause_s

    def _ended(self, machine: Machine, own: set[int]) -> None:
        self._taken -= own
        if not machine.listened and not machine.leaving:
            self.failed()
            self.say(f"{machine.name} did not listen: {machine.how()}")
            return
        self._pause_s = 0.0
        if not machine.leaving and not machine.ended_well:
            self.say(f"{machine.name}: {machine.how()}")

    def _forwards(self) -> tuple[Forward, ...]:
        """Ports of its own, of the loopback device. Raises FloeError."""
        wanted = [Forward("127.0.0.1", 0, port) for port in dict.fromkeys(f.guest_port for f in self.spec.forwards)]
        for _ in range(_DRAWS):
            found = ports.claim(wanted)
            if not self._taken.intersection(forward.host_port for forward in found):
                return found
        raise FloeError("no port of this machine is free", hint="ss -lnt")
