# SPDX-License-Identifier: MIT
"""Which VM runs on which host: a pure function of what is wanted, what hosts there are, and what runs where now. The
same input gives the same answer, in whatever order it comes. What runs stays where it is as long as it may: nothing
moves because a host has come, and of one that has gone only what ran there does.

It looks for a place for one VM after the other and takes none back: where hosts are nearly full it may find no place
for one that would have had one after others had moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from floe.errors import FloeError

How = Literal["spread", "pack"]


@dataclass(frozen=True)
class Wanted:
    """One VM. name: as `floe ps` has it; service: that of its table; memory: bytes; labels: all of which its host must
    have; ports: of its host, which it has alone. how: "spread" asks for the host with the fewest of its service, "pack"
    for the fullest."""

    name: str
    service: str
    memory: int
    how: How = "spread"
    labels: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Room:
    """A host. memory: bytes that all VMs of this stack together may have there."""

    name: str
    memory: int
    cpus: int = 1
    labels: frozenset[str] = frozenset()


class NoPlace(FloeError):
    """A VM fits on no host."""

    def __init__(self, vm: Wanted, reasons: Iterable[str]) -> None:
        super().__init__(
            f"{vm.name} ({_text(vm.memory)}) has no place on any host",
            evidence="\n".join(reasons),
            hint="a host more, fewer replicas, or less memory for each",
        )
        self.name = vm.name


class _Host:
    """A host, and what is placed there."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.left = room.memory
        self.services: dict[str, int] = {}
        self.ports: dict[str, str] = {}
        self.count = 0

    def refuses(self, vm: Wanted) -> str:
        """Why, "" if it does not."""
        if missing := sorted(vm.labels - self.room.labels):
            return f"{self.room.name}: has no label {', '.join(missing)}"
        if taken := sorted(vm.ports & self.ports.keys()):
            return f"{self.room.name}: {self.ports[taken[0]]} has port {taken[0]}"
        if vm.memory > self.left:
            return f"{self.room.name}: {_text(self.left)} of {_text(self.room.memory)} are left"
        return ""

    def take(self, vm: Wanted) -> None:
        self.left -= vm.memory
        self.services[vm.service] = self.services.get(vm.service, 0) + 1
        self.ports |= dict.fromkeys(vm.ports, vm.name)
        self.count += 1


def place(wanted: Iterable[Wanted], hosts: Iterable[Room], now: Mapping[str, str]) -> dict[str, str]:
    """The host of each VM, by name. now: hosts of those that run, or did; hosts that are not among `hosts` are gone.
    Raises NoPlace."""
    there = {room.name: _Host(room) for room in sorted(hosts, key=lambda room: room.name)}
    found: dict[str, str] = {}
    homeless = []
    for vm in sorted(wanted, key=lambda vm: vm.name):
        host = there.get(now.get(vm.name, ""))
        if host is not None and not host.refuses(vm):
            host.take(vm)
            found[vm.name] = host.room.name
        else:
            homeless.append(vm)
    # Who can be had by few hosts comes first, and then who needs much.
    homeless.sort(key=lambda vm: (sum(vm.labels <= host.room.labels for host in there.values()), -vm.memory, vm.name))
    for vm in homeless:
        free = [host for host in there.values() if not host.refuses(vm)]
        if not free:
            raise NoPlace(vm, [host.refuses(vm) for host in there.values()])
        best = min(free, key=_preference(vm))
        best.take(vm)
        found[vm.name] = best.room.name
    return dict(sorted(found.items()))


def _text(size: int) -> str:
    return f"{size >> 20}M"


def _preference(vm: Wanted) -> Callable[[_Host], tuple[float, ...]]:
    """The least is the best; of equals the first by name."""
    if vm.how == "pack":
        return lambda host: (host.count == 0, host.left)
    return lambda host: (host.services.get(vm.service, 0), host.count / max(1, host.room.cpus), -host.left)
