# SPDX-License-Identifier: MIT
"""A VM that is a copy of a running one: made, served and ended by its family (floe.family)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from floe.errors import EXIT_INTERRUPTED, VmError
from floe.family import cards
from floe.family.copies import PrivateDisks
from floe.hostnet import taps
from floe.hypervisor import registry
from floe.spec import handover, ports
from floe.spec.ports import Forward
from floe.spec.vmspec import VmSpec
from floe.vm.outcome import Outcome
from floe.vm.vm import Vm

_LAST_WORDS_S = 1.0  # of a hypervisor that ends


def spec_of_copy(spec: VmSpec, name: str, disks: PrivateDisks) -> VmSpec:
    """The same machine with a name, disks, network cards, ports and captured packets of its own: the devices must be as
    they were. Raises what ports.claim() and cards.of_copy() do."""
    through = registry.create(spec.hypervisor).relays_forwards
    own_uuid = str(uuid.uuid4())
    forwards = [_forward_of_copy(forward) for forward in spec.forwards]
    return replace(
        spec,
        name=name,
        uuid=own_uuid,
        cards=cards.of_copy(spec.cards, own_uuid, taps.bridge_of),
        disks=disks.disks,
        forwards=ports.claim(forwards, through=through),
        capture=spec.capture and spec.capture.with_name(f"{spec.capture.stem}.{name}{spec.capture.suffix}"),
    )


def _forward_of_copy(forward: Forward) -> Forward:
    """The same to a port of its own; one that is spread is for whoever spreads it."""
    address = "127.0.0.1" if forward.spread else forward.address
    return replace(forward, address=address, host_port=0, through=0, spread=False)


class Child(Vm):
    """A VM in which a copy runs. Its family serves it, in the loop of the first one: no call here waits for it."""

    def __init__(
        self, spec: VmSpec, loop: asyncio.AbstractEventLoop, blobs: Sequence[handover.Blob], disks: PrivateDisks
    ) -> None:
        super().__init__(spec, loop=loop)
        self.on_over: Callable[[int], None] = lambda status: None
        self._is_copy = True
        self._blobs = tuple(blobs)
        self._own_fds = disks.fds
        self.ram = -1
        self._source: socket.socket | None = None  # where the state is written to
        self._told = False

    def _provide(self) -> None:
        """It has what its original has."""

    def _found_family(self) -> None:
        """It is in one."""

    def start(self) -> None:
        """As Vm.start(): nothing runs until run_copy()."""
        ours, theirs = socket.socketpair()
        self._source = ours
        self._inherited = [theirs.fileno(), *self._own_fds]
        folder, _, number = str(self.spec.elf).rpartition("/")
        if folder == "/dev/fd":  # of a VM that goes on from a snapshot
            self._inherited.append(int(number))
        if self.ram >= 0:
            self._inherited.append(self.ram)
            self._ram, self._ram_shared = f"/dev/fd/{self.ram}", True
        try:
            with theirs:
                super().start()
        except BaseException:
            self._close_source()
            raise
        self.spec = replace(self.spec, cards=self._hypervisor.placed_cards(self.spec.cards))

    async def expect_copy(self) -> socket.socket:
        """Wait until the state can come, and return where it is to be written. Raises VmError."""
        try:
            await self._hypervisor.expect_copy(self._inherited[0])
        except VmError as e:
            raise await self._explained(e) from None
        assert self._source is not None
        sock, self._source = self._source, None
        return sock

    async def run_copy(self) -> None:
        """Wait until the state is there, and let the guest run. Raises VmError."""
        try:
            await self._hypervisor.run_copy()
        except VmError as e:
            raise await self._explained(e) from None

    @property
    def version(self) -> str:
        """Of its hypervisor, once it waits."""
        return self._hypervisor.version

    async def devices(self) -> bytes:
        """Wait until the state is there, and return all of it but the guest's memory. Raises VmError."""
        try:
            return await self._hypervisor.devices()
        except VmError as e:
            raise await self._explained(e) from None

    async def _explained(self, error: VmError) -> VmError:
        """With the first that the hypervisor says, where it has ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S if self._monitor_task.done() else 0):
                while not self.messages.closed:
                    self._changed.clear()
                    await self._changed.wait()
        said = self.messages.text.strip().splitlines()
        return VmError(f"{error.message}: {said[0]}") if said else error

    def end_at_once(self) -> None:
        """Nobody waits for its last words. A process that is not the VM has to end that first."""
        self._ending.ask(Outcome(EXIT_INTERRUPTED, "interrupt"), made_to_panic=False)
        if self._hypervisor.is_the_vm:
            self._kill(signal.SIGKILL)
        else:
            self._terminate()

    def _over(self) -> None:
        if not self._told and (self.outcome or self._failure):
            self._told = True
            self._close_source()
            self._release()
            self.on_over(self._status())

    def _status(self) -> int:
        """As waitpid(2) has it: an exit code, or a signal's number where the guest did not end by itself."""
        if self.outcome is None or self.outcome.cause == "interrupt":
            return int(signal.SIGKILL)
        if self.outcome.cause == "crash":
            return int(signal.SIGSEGV)
        return (self.outcome.code & 0xFF) << 8

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
