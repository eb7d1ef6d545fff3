# SPDX-License-Identifier: MIT
"""QEMU as a hypervisor: its command line, and QMP for its events."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from floe.errors import UsageError, VmError
from floe.hostnet import backlog, taps
from floe.hypervisor.base import Heard, HostUse, OnEvent
from floe.landlock import Confinement
from floe.qemu import accel, commandline, qmp, reach, words
from floe.qemu.commandline import Endpoints
from floe.qemu.memory import GuestMemory
from floe.spec import handover, network
from floe.spec.network import Card
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import VmSpec, Wires

if TYPE_CHECKING:
    from floe.qemu.copying import Copying


class Qemu:
    """QEMU, and QMP for its events."""

    label = "QEMU"
    is_the_vm = True
    has_16550 = True
    kill_grace_s = 2.0
    machines: tuple[str, ...] = commandline.MACHINES
    accels: tuple[str, ...] = accel.ACCELS
    card_kinds: tuple[str, ...] = network.KINDS
    forwarding_kinds: tuple[str, ...] = ("user",)
    copies = True
    copies_to_hosts = True
    copy_s = 20.0
    is_here = True
    guards_egress = True
    relays_forwards = True

    def __init__(self) -> None:
        self._monitor: socket.socket | None = None
        self._copier: Copying | None = None
        self._on_event: OnEvent = lambda name, data: None

    @property
    def _copying(self) -> Copying:
        """Made, and imported with asyncio, once QEMU has been started: the two take about as long."""
        from floe.qemu.copying import Copying

        if self._copier is None:
            self._copier = Copying()
        return self._copier

    def check(self, options: RunOptions) -> None:
        """The machine is one of QEMU's that we know."""
        if options.machine not in self.machines:
            known = ", ".join(self.machines)
            raise UsageError(f"--machine {options.machine}: no such machine", hint=f"one of {known}")

    def forwards_own(self) -> bool:
        """Always: QEMU's user network is this machine's alone."""
        return True

    def choose_accel(self, wanted: str) -> tuple[str, str]:
        """KVM where it serves."""
        return accel.choose(wanted)

    def state_key(self, spec: VmSpec) -> dict[str, str]:
        """Machine, accelerator and what of this processor the guest sees."""
        return {
            "hypervisor": self.label,
            "machine": spec.machine,
            "accel": spec.accel,
            "cpu": accel.cpu_seen(spec.accel),
        }

    def with_macs(self, cards: Sequence[Card], uuid: str) -> tuple[Card, ...]:
        """Of the cards whose frames reach other machines."""
        return network.with_macs(cards, uuid)

    def before_claim(self, *, forwards: bool, disks: bool) -> None:
        """A QEMU that ends holds nothing any more."""

    @contextmanager
    def command(
        self, spec: VmSpec, wires: Wires, blobs: Sequence[handover.Blob]
    ) -> Iterator[tuple[list[str], list[int]]]:
        """QEMU's command line; secrets and env files are in memory."""
        joined = taps.bridged(spec.cards, captured=spec.capture is not None)
        with words.blobs_in_memory(blobs) as (files, fds), joined as (cards, more), words.inherited(spec.elf) as named:
            spec = replace(spec, cards=cards, elf=named[0])
            yield commandline.command_line(spec, Endpoints.for_wires(wires), files), [*fds, *more, *named[1]]

    def confinement(
        self, spec: VmSpec, wires: Wires, argv: Sequence[str]
    ) -> AbstractContextManager[Confinement | None]:
        """By Landlock, where there is one."""
        return reach.confinement(spec, wires, argv[0])

    def show(self, spec: VmSpec, *, as_json: bool) -> str:
        """A command line to be pasted."""
        argv = commandline.command_line(spec, Endpoints.for_paste())
        return json.dumps(argv) if as_json else shlex.join(argv)

    def placed_cards(self, cards: Sequence[Card]) -> tuple[Card, ...]:
        """As they were asked for."""
        return tuple(cards)

    def greet(self, sock: socket.socket, *, copied: bool = False) -> None:
        """Ask for QMP's command mode, from which on events come, and for the guest to run."""
        self.release()
        self._monitor = sock.dup()
        self._copier = None
        qmp.negotiate(sock, run=not copied)

    def interrupt(self) -> bool:
        """By an NMI."""
        try:
            if self._monitor is not None:
                qmp.inject_nmi(self._monitor)
        except OSError:  # it ends already
            return False
        return self._monitor is not None

    async def instruction(self) -> int:
        """As its monitor prints the registers."""
        return await qmp.instruction(self._copying.commands)

    async def exits(self) -> dict[str, int]:
        """KVM counts them."""
        found = await qmp.exits(self._copying.commands)
        if "exits" not in found:
            if await qmp.has_kvm(self._copying.commands):
                raise VmError("this host's kernel does not tell QEMU how often its VMs exit", hint="Linux 5.14 does")
            raise VmError("only KVM counts exits, and this VM is emulated", hint="floe run --detach --accel kvm APP")
        return found

    async def hear(self, pid: int, index: int, card: Card) -> Heard:
        """Of a tap by its interface, else by a filter of QEMU's."""
        from floe.qemu import packets

        commands = self._copying.commands
        if card.kind in ("tap", "bridge"):
            return packets.Tap(await packets.tap_name(commands, pid, index))
        dump = packets.Dump(commands, index)
        await dump.open()
        return dump

    async def watch(self, sock: socket.socket, on_event: OnEvent) -> None:
        """QMP by its library."""
        copying, self._on_event = self._copying, on_event

        def deliver(name: str, data: Mapping[str, Any]) -> None:
            if not copying.took(name, data):
                on_event(name, data)

        try:
            await qmp.watch(sock, deliver, copying.commands)
        finally:
            copying.ended()

    async def send_copy(self, fd: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """By a migration to the socket. A guest that stands still after it has ended by that: STOP says so."""
        from floe.qemu.copying import StandsStill

        try:
            await self._copying.send(fd, meanwhile)
        except StandsStill:
            self._on_event("STOP", {})
            raise

    async def expect_copy(self, fd: int) -> None:
        """By a migration from it."""
        await self._copying.expect(fd)

    async def run_copy(self) -> None:
        """The migration is complete."""
        await self._copying.run()

    def likeness(self, kind: str) -> dict[str, str]:
        """Its version, and the processor; KVM, if it is to be that, serves."""
        if kind == "kvm":
            accel.check_kvm()
        return {"QEMU": commandline.version(), "processor": accel.cpu_seen(kind)}

    async def devices(self) -> bytes:
        """By a migration that leaves the memory out."""
        return await self._copying.devices()

    async def load(self, devices: bytes, version: str) -> None:
        """By a migration from them."""
        await self._copying.load(devices, version)

    @property
    def version(self) -> str:
        """As it greets."""
        return self._copying.commands.version

    def preload(self) -> None:
        """QMP's library."""
        import qemu.qmp  # noqa: F401 - for the loading alone

    def widen_ports(self, pid: int) -> None:
        """QEMU listens with a backlog of one."""
        backlog.widen(pid)

    def memory(self, pid: int, size: int, machine: str, known: tuple[int, bytes]) -> GuestMemory:
        """By the memory of QEMU's process."""
        return GuestMemory(pid, size, machine, known)

    def host_uses(self, uuids: Mapping[str, str], deadline_s: float) -> dict[str, HostUse]:
        """Its processes tell."""
        return {}

    def release(self) -> None:
        """Nothing is lent; our end of QMP."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
