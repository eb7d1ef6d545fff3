# SPDX-License-Identifier: MIT
"""Xen as a hypervisor: the proxy process of a domain (xen/domain.py), and its events."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from floe.errors import FloeError, UsageError, VmError
from floe.hypervisor.base import Heard, HostUse, OnEvent
from floe.lab import disk as labdisk
from floe.landlock import Confinement
from floe.spec import guestline, handover, vmspec
from floe.spec.network import Card
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import VmSpec, Wires
from floe.xen import dom0, events, listing, places, scripts, xlconfig
from floe.xen.copying import Copying
from floe.xenlab import lab


class Xen:
    """One domain's."""

    label = "Xen"
    is_the_vm = False
    has_16550 = False
    kill_grace_s = 30.0  # xl destroy in a busy dom0; the process itself gives up after 20
    machines: tuple[str, ...] = ("pvh",)
    accels: tuple[str, ...] = ()
    card_kinds: tuple[str, ...] = places.KINDS
    forwarding_kinds: tuple[str, ...] = places.KINDS
    copies = True
    copies_to_hosts = False
    copy_s = 180.0  # 4 s for 16 MiB in a dom0 that is emulated, by itself
    is_here = True
    guards_egress = False
    relays_forwards = False

    def __init__(self) -> None:
        self._cards: tuple[Card, ...] | None = None  # as they are since the first start
        self._leases: list[lab.Address] = []
        self._copying = Copying()

    def check(self, options: RunOptions) -> None:
        """--accel and --machine as they are when nobody names them, and no packets captured."""
        if (options.accel, options.machine) != (RunOptions.accel, RunOptions.machine):
            raise UsageError(
                "--accel and --machine are QEMU's; a Xen domain is of type PVH", hint="--hypervisor xen alone"
            )
        if options.capture:
            raise UsageError("packets of a Xen domain are captured in dom0", hint="tcpdump -i vifID.0 there")

    def forwards_own(self) -> bool:
        """Not in a dom0, where a guest has its own address."""
        return not dom0.is_here()

    def choose_accel(self, wanted: str) -> tuple[str, str]:
        """Xen is its own."""
        return "xen", ""

    def state_key(self, spec: VmSpec) -> dict[str, str]:
        """The type of domain; of Xen's version dom0 says whether it is the same."""
        return {"hypervisor": self.label, "machine": spec.machine}

    def with_macs(self, cards: Sequence[Card], uuid: str) -> tuple[Card, ...]:
        """Those of Xen's range are given when the domain starts."""
        return tuple(cards)

    def before_claim(self, *, forwards: bool, disks: bool) -> None:
        """The lab's QEMU has the ports and the files of domains that died."""
        if forwards:
            lab.forget_dead_forwards()
        if disks:
            labdisk.unplug_dead(lab.LAB)

    @contextmanager
    def command(
        self, spec: VmSpec, wires: Wires, blobs: Sequence[handover.Blob]
    ) -> Iterator[tuple[list[str], list[int]]]:
        """The command of domain.py, or of keeping.py for a state that is to be in a file. Raises what places.choose()
        and assign_addresses() do."""
        place = places.choose()
        if wires.ram and wires.ram_shared:
            argv = [
                sys.executable,
                "-P",
                "-m",
                "floe.xen.keeping",
                "--place",
                place.name,
                "--state",
                _number(wires.ram),
            ]
            yield [*argv, "--events", wires.events], []
            return
        if self._cards is None:
            self._cards, self._leases = _placed(place, spec, copied=wires.copied)
        own = _domain(spec, self._cards, ())  # where disks are in dom0 is known there
        argv = [sys.executable, "-P", "-m", "floe.xen.domain", "--place", place.name]
        argv += ["--elf", str(spec.elf), "--config", xlconfig.render(own)]
        first = ["--copied"] if wires.copied else []
        first += ["--state", _number(wires.ram)] if wires.ram else []
        argv += [wires.once + word for word in first]
        argv += ["--console", wires.console, "--serial", wires.serial, "--events", wires.events]
        argv += ["--family", wires.family] if wires.family else []
        guest = places.guest_address(self._cards)
        for forward in spec.forwards if not _is_told_later(spec.cards[:1], copied=wires.copied) else ():
            if not guest:
                raise UsageError(f"{forward.option()}: the guest's address is not known", hint=place.fixed)
            argv += [
                "--forward",
                f"{forward.protocol},{forward.address},{forward.host_port},{guest},{forward.guest_port}",
            ]
        for disk in spec.disks:
            argv += ["--disk", f"{'ro' if disk.readonly else 'rw'},{disk.path}"]
        with handover.as_files(blobs) as fds:
            for blob, fd in zip(blobs, fds, strict=True):
                argv += ["--blob", f"{blob.name}={fd}"]
            yield argv, [*fds, *(lease.fileno() for lease in self._leases)]

    def confinement(
        self, spec: VmSpec, wires: Wires, argv: Sequence[str]
    ) -> AbstractContextManager[Confinement | None]:
        """None: it is a program of ours, which no guest runs in."""
        return nullcontext()

    def show(self, spec: VmSpec, *, as_json: bool) -> str:
        """The configuration, and what is done with it."""
        try:
            place: places.Place = places.choose()
        except FloeError:
            place = places.Dom0()  # for a look at the configuration none is needed
        cards, leases = places.assign_addresses(place, spec.cards, spec.uuid)
        places.release(leases)
        disks = [xlconfig.disk(str(disk.path), i, readonly=disk.readonly) for i, disk in enumerate(spec.disks)]
        own = _domain(vmspec.for_paste(spec), cards, disks)
        text = f"kernel={xlconfig.quote(str(spec.elf))}\n{xlconfig.render(own)}"
        commands = scripts.commands_by_hand(own.name, len(spec.secrets) + len(spec.env_files))
        if as_json:
            return json.dumps({"config": text, "commands": commands})
        return text + "\n".join(f"# {command}" for command in commands)

    def placed_cards(self, cards: Sequence[Card]) -> tuple[Card, ...]:
        """On a bridge of dom0, with the addresses that they have there."""
        return tuple(cards) if self._cards is None else self._cards

    def greet(self, sock: socket.socket, *, copied: bool = False) -> None:
        """The process waits for no word of ours; what is asked of it later goes the same way."""
        self._copying.close()
        self._copying = Copying(sock.dup())

    def interrupt(self) -> bool:
        """Not under Xen."""
        return False

    async def instruction(self) -> int:
        """Its process has no way to ask."""
        raise VmError("under Xen nobody tells what a VM does", hint="floe run --detach --hypervisor qemu APP")

    async def exits(self) -> dict[str, int]:
        """As instruction()."""
        raise VmError("under Xen nobody tells what a VM does", hint="floe run --detach --hypervisor qemu APP")

    async def hear(self, pid: int, index: int, card: Card) -> Heard:
        """As instruction()."""
        raise VmError("under Xen nobody tells what a VM does", hint="floe run --detach --hypervisor qemu APP")

    async def watch(self, sock: socket.socket, on_event: OnEvent) -> None:
        """Its lines."""
        copying = self._copying

        def deliver(name: str, data: Mapping[str, Any]) -> None:
            copying.heard(name, data)
            on_event(name, data)

        try:
            await events.watch(sock, deliver)
        finally:
            copying.ended()

    async def send_copy(self, fd: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """By the process at the other end of the socket, to which the domain's number goes. The guest stands still by
        its own will, before as well."""
        await meanwhile()
        await self._copying.send(fd)

    async def expect_copy(self, fd: int) -> None:
        """By word to the process."""
        await self._copying.expect(fd)

    async def run_copy(self) -> None:
        """By word to the process."""
        await self._copying.run()

    def likeness(self, kind: str) -> dict[str, str]:
        """Nothing: a copy runs here (copies_to_hosts)."""
        return {}

    async def devices(self) -> bytes:
        """How much of the file is the state: xl's, memory and all."""
        await self._copying.kept()
        return json.dumps({"size": self._copying.kept_size}).encode()

    async def load(self, devices: bytes, version: str) -> None:
        """By word to the process, which has the file."""
        await self._copying.load(json.loads(devices)["size"], version, self.copy_s)

    @property
    def version(self) -> str:
        """Of Xen, as dom0 tells it."""
        return self._copying.version

    def preload(self) -> None:
        """All is loaded."""

    def widen_ports(self, pid: int) -> None:
        """What listens there is ours, or the lab's."""

    def memory(self, pid: int, size: int, machine: str, known: tuple[int, bytes]) -> None:
        """Not without a right to map a domain's memory, in dom0."""

    def host_uses(self, uuids: Mapping[str, str], deadline_s: float) -> dict[str, HostUse]:
        """From dom0's list of domains."""
        names = {xlconfig.domain_name(name, uuid): name for name, uuid in uuids.items()}
        found = listing.domains(places.choose(), deadline_s)
        return {names[name]: HostUse(*row) for name, row in found.items() if name in names}

    def release(self) -> None:
        """Give the addresses back; a process that inherited them holds them still."""
        self._copying.close()
        places.release(self._leases)


def _number(path: str) -> str:
    """Of a descriptor, from its name below /dev/fd."""
    return path.rpartition("/")[2]


def _placed(place: places.Place, spec: VmSpec, *, copied: bool) -> tuple[tuple[Card, ...], list[lab.Address]]:
    """As places.assign_addresses(). Which address of those that its original was given for children is a copy's is
    known, and told to its guest, when it is made. Until then its original's stands there; it is not asked for again."""
    told = [_is_told_later([card], copied=copied) for card in spec.cards]
    asked = [replace(card, ip="none") if known else card for card, known in zip(spec.cards, told, strict=True)]
    cards, leases = places.assign_addresses(place, asked, spec.uuid)
    ips = [was.ip if known else card.ip for card, was, known in zip(cards, spec.cards, told, strict=True)]
    return tuple(replace(card, ip=ip) for card, ip in zip(cards, ips, strict=True)), leases


def _is_told_later(cards: Sequence[Card], *, copied: bool) -> bool:
    return copied and any(card.kind != "user" and card.is_told for card in cards)


def _domain(spec: VmSpec, cards: Sequence[Card], disks: Sequence[str]) -> xlconfig.Domain:
    return xlconfig.Domain(
        name=xlconfig.domain_name(spec.name, spec.uuid),
        memory=spec.memory,
        cmdline=guestline.guest_command_line(spec, cards),
        uuid=spec.uuid,
        cards=tuple(cards),
        disks=tuple(disks),
    )
