# SPDX-License-Identifier: MIT
"""Xen as a hypervisor of floe's (../hypervisor.py): the process that stands for a domain, and its events."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from floe.errors import FloeError, UsageError
from floe.hypervisor.base import OnEvent
from floe.spec import guestline, handover, vmspec
from floe.spec.network import Card
from floe.spec.vmspec import VmSpec, Wires
from floe.xen import events, places, scripts, xlconfig
from floe.xenlab import lab


class Xen:
    """One domain's."""

    label = "Xen"
    has_16550 = False
    kill_grace_s = 30.0  # xl destroy in a busy dom0; the process itself gives up after 20

    def __init__(self) -> None:
        self._cards: tuple[Card, ...] | None = None  # as they are since the first start
        self._lent: list[lab.Address] = []

    @contextmanager
    def command(
        self, spec: VmSpec, wires: Wires, blobs: Sequence[handover.Blob]
    ) -> Iterator[tuple[list[str], list[int]]]:
        """The command of domain.py. Raises what places.choose() and settle() do."""
        place = places.choose()
        if self._cards is None:
            self._cards, self._lent = places.settle(place, spec.cards, spec.uuid)
        own = _domain(spec, self._cards, ())  # where disks are in dom0 is known there
        argv = [sys.executable, "-P", "-m", "floe.xen.domain", "--place", place.name]
        argv += ["--elf", str(spec.elf), "--config", xlconfig.render(own)]
        argv += ["--console", wires.console, "--serial", wires.serial, "--events", wires.events]
        guest = places.guest_address(self._cards)
        for forward in spec.forwards:
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
            yield argv, [*fds, *(lease.fileno() for lease in self._lent)]

    def show(self, spec: VmSpec, *, as_json: bool) -> str:
        """The configuration, and what is done with it."""
        try:
            place: places.Place = places.choose()
        except FloeError:
            place = places.Dom0()  # for a look at the configuration none is needed
        cards, lent = places.settle(place, spec.cards, spec.uuid)
        places.release(lent)
        disks = [xlconfig.disk(str(disk.path), i, readonly=disk.readonly) for i, disk in enumerate(spec.disks)]
        own = _domain(vmspec.for_paste(spec), cards, disks)
        text = f"kernel={xlconfig.quote(str(spec.elf))}\n{xlconfig.render(own)}"
        commands = scripts.words(own.name, len(spec.secrets) + len(spec.env_files))
        if as_json:
            return json.dumps({"config": text, "commands": commands})
        return text + "\n".join(f"# {command}" for command in commands)

    def greet(self, sock: socket.socket) -> None:
        """The process needs no word of ours."""

    def interrupt(self) -> bool:
        """Not under Xen."""
        return False

    async def watch(self, sock: socket.socket, on_event: OnEvent) -> None:
        """Its lines."""
        await events.watch(sock, on_event)

    def release(self) -> None:
        """Give the addresses back; a process that inherited them holds them still."""
        places.release(self._lent)


def _domain(spec: VmSpec, cards: Sequence[Card], disks: Sequence[str]) -> xlconfig.Domain:
    return xlconfig.Domain(
        name=xlconfig.domain_name(spec.name, spec.uuid),
        memory=spec.memory,
        cmdline=guestline.guest_command_line(spec, cards),
        uuid=spec.uuid,
        cards=tuple(cards),
        disks=tuple(disks),
    )
