# SPDX-License-Identifier: MIT
"""Where domains run: this machine when it is a dom0, else the lab when that is up.

Both run scripts (connect); they differ in how a guest gets its address and how a port or a file of this machine gets
to it. close() of a lease gives back what a domain was lent, or the kernel does when the lease holder dies.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Protocol

from floe.errors import FloeError, NotFound, UsageError, VmError
from floe.lab import disk as labdisk
from floe.spec import ports
from floe.spec.disks import Disk
from floe.spec.network import Card
from floe.spec.ports import Forward
from floe.xen import dom0, xlconfig
from floe.xenlab import lab

KINDS = ("user", "bridge")
_NO_XEN = "floe lab xen up\nor in a dom0, as root: floe run --hypervisor xen ..."


class Closeable(Protocol):
    """A lease."""

    def close(self) -> None:
        """Give it back."""


class Place(Protocol):
    """One place where domains run."""

    name: str
    fixed: str  # hint: how a guest gets an address that is known before it starts

    def connect(self, script: str) -> socket.socket:
        """Start a script in dom0: lab.connect() says what the socket is."""

    def has_rdrand(self) -> bool:
        """Whether guests can draw random numbers from the processor."""

    def address(self, card: Card) -> tuple[Card, list[lab.Address]]:
        """The card with the bridge and the address that it gets here, and the leases for it."""

    def forward(self, forward: Forward, guest: str) -> Closeable:
        """Let a port of this machine reach the guest at that address."""

    def disk(self, disk: Disk) -> tuple[str, Closeable | None]:
        """Path in dom0 of a disk of this machine, and its lease."""

    def evidence(self) -> str:
        """What the hypervisor said last, if it can be had: whole lines with a label."""


class Lab:
    """The lab: guests share a network with QEMU's, 10.0.2.0/24, in which every one gets a fixed address."""

    name = "lab"
    fixed = "--net user"

    def connect(self, script: str) -> socket.socket:
        return lab.connect(script)

    def has_rdrand(self) -> bool:
        return True  # lab/boot.py gives it one

    def address(self, card: Card) -> tuple[Card, list[lab.Address]]:
        if card.kind == "bridge" and card.name != lab.BRIDGE:
            lab.check_bridge(card.name)
            return card, []
        if card.ip in ("dhcp", "none"):
            return replace(card, kind="bridge", name=lab.BRIDGE), []
        number = None
        if card.ip:
            asked = ipaddress.IPv4Interface(card.ip)
            if asked.network != ipaddress.IPv4Interface(f"{lab.GATEWAY}/{lab.NETWORK_BITS}").network:
                return replace(card, kind="bridge", name=lab.BRIDGE), []
            number = int(asked.ip) & 0xFF
        lease = lab.take_address(number)
        gateway, dns = card.gateway or lab.GATEWAY, card.dns or lab.DNS
        ip = f"{lease.text}/{lab.NETWORK_BITS}"
        return replace(card, kind="bridge", name=lab.BRIDGE, ip=ip, gateway=gateway, dns=dns), [lease]

    def forward(self, forward: Forward, guest: str) -> Closeable:
        if not forward.is_ip6:
            return lab.forward(forward.address, forward.host_port, guest, forward.guest_port, forward.protocol)
        from floe.hostnet import relay

        inner = replace(forward, address="127.0.0.1", host_port=0)
        inner = replace(inner, host_port=ports.free_port(inner))
        leases = ExitStack()
        leases.callback(self.forward(inner, guest).close)
        try:
            leases.callback(relay.Relay({forward: (inner.address, inner.host_port)}).close)
        except BaseException:
            leases.close()
            raise
        return leases

    def disk(self, disk: Disk) -> tuple[str, Closeable | None]:
        plugged = labdisk.plug(lab.LAB, disk)
        return plugged.target, plugged

    def evidence(self) -> str:
        return "\n".join(f"xen: {line}" for line in lab.xen_log_tail(8).splitlines())


class Dom0:
    """This machine: guests are on a bridge of its administrator's and have their own addresses there."""

    name = "dom0"
    fixed = f"--net bridge:{xlconfig.BRIDGE},ip=ADDR/BITS,gw=ADDR"

    def connect(self, script: str) -> socket.socket:
        return dom0.connect(script)

    def has_rdrand(self) -> bool:
        return dom0.has_rdrand()

    def address(self, card: Card) -> tuple[Card, list[lab.Address]]:
        return replace(card, kind="bridge", name=card.name or xlconfig.BRIDGE), []

    def forward(self, forward: Forward, guest: str) -> Closeable:
        from floe.hostnet import relay

        return relay.Relay({forward: (guest, forward.guest_port)})

    def disk(self, disk: Disk) -> tuple[str, Closeable | None]:
        return str(disk.path), None

    def evidence(self) -> str:
        return ""


def choose() -> Place:
    """Where domains run now. Raises NotFound where there is no Xen, FloeError without the right to use it."""
    if dom0.is_here():
        dom0.check_rights()
        return Dom0()
    if lab.is_up():
        return Lab()
    if lab.read_record() is not None:
        lab.running()  # says how it ended
    raise NotFound("no Xen here: this machine is no dom0, and the lab is not up", hint=_NO_XEN)


def by_name(name: str) -> Place:
    """The place of this name."""
    return Dom0() if name == Dom0.name else Lab()


def assign_addresses(place: Place, cards: Sequence[Card], uuid: str) -> tuple[tuple[Card, ...], list[lab.Address]]:
    """The cards as they will be: kind bridge, with the address that is known before the guest starts, and a MAC address
    that is the same at every start. And the leases. Raises UsageError, FloeError."""
    assigned: list[Card] = []
    leases: list[lab.Address] = []
    try:
        for index, card in enumerate(cards):
            if card.kind not in KINDS:
                raise UsageError(
                    f"--net {card.kind}:{card.name}: under Xen a network card is on a bridge of dom0",
                    hint="--net user, or --net bridge:NAME",
                )
            own, more = place.address(card)
            leases += more
            assigned.append(replace(own, mac=card.mac or mac(uuid, index)))
    except BaseException:
        release(leases)
        raise
    return tuple(assigned), leases


def mac(uuid: str, index: int) -> str:
    """A MAC address of the range that Xen has for guests, 00:16:3e."""
    return "00:16:3e:" + hashlib.sha256(f"{uuid}/{index}".encode()).digest()[:3].hex(":")


def release(leases: list[lab.Address]) -> None:
    """Give everything back."""
    while leases:
        leases.pop().close()


def guest_address(cards: Sequence[Card]) -> str:
    """Where the first card's address is known: that; else "". It is the one that ports are forwarded to."""
    ip = cards[0].ip if cards else ""
    return "" if ip in ("", "dhcp", "none") else ip.partition("/")[0]


def create_failed_error(output: Sequence[str], place: Place) -> VmError:
    """The error for a domain that xl did not make, from xl's own output."""
    text = "\n".join(output)
    hint = "xl dmesg"
    if "bridge" in text or "vif" in text:
        hint = "--net bridge:NAME with a bridge that dom0 has, or --net none"
    elif "emory" in text:
        hint = "less --memory, or end other domains: floe ps, floe stop NAME"
    evidence = "\n".join(filter(None, ["\n".join(f"xl: {line}" for line in output[-12:]), place.evidence()]))
    return VmError("xl refused to create the domain", evidence=evidence, hint=hint)


def copy_failed_error(output: Sequence[str], place: Place) -> VmError:
    """The error for a domain that xl did not make of another one, from xl's own output."""
    lines = [line.strip() for line in output if line.strip()]
    said = next((line for line in lines if "rror" in line), lines[-1] if lines else "it says nothing")
    evidence = "\n".join(filter(None, ["\n".join(f"xl: {line}" for line in lines[-12:]), place.evidence()]))
    return VmError(f"xl did not copy the domain: {said}", evidence=evidence, hint="xl dmesg")


def connection_lost_error(place: Place) -> FloeError:
    """The error for a connection to dom0 that ended by itself."""
    return VmError("the connection to dom0 has ended", evidence=place.evidence(), hint="floe doctor")
