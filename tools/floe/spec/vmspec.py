# SPDX-License-Identifier: MIT
"""A VM as data: what to boot and with what, and the sockets of the process that runs it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from floe import units
from floe.errors import UsageError
from floe.spec.disks import Disk
from floe.spec.egress import Egress
from floe.spec.network import Card
from floe.spec.ports import Forward

DEFAULT_MEMORY = 32 << 20
DEFAULT_CHILDREN = 16
# The only names of a hypervisor and an accelerator that stand above the drivers (floe.hypervisor).
DEFAULT_HYPERVISOR = "qemu"
DEFAULT_ACCEL = "tcg"  # serves on every machine

_SMALL = 64 << 20  # bytes; above it huge pages may pay


@dataclass(frozen=True)
class VmSpec:
    """What to boot and with what. `machine` and `accel` are words of the hypervisor's; host ports are free ones."""

    elf: Path
    memory: int = DEFAULT_MEMORY  # bytes
    machine: str = "microvm"
    accel: str = DEFAULT_ACCEL
    cards: tuple[Card, ...] = (Card(),)
    forwards: tuple[Forward, ...] = ()
    egress: Egress | None = None  # what it may reach beyond its own network; None: all that this host does
    disks: tuple[Disk, ...] = ()
    env: tuple[tuple[str, str], ...] = ()  # the image's own variables
    asked: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # --env's, on no command line
    args: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()  # further words for the guest, as "floe.stamps=1"
    secrets: tuple[tuple[str, Path], ...] = ()  # name, file of the host: paths alone, never content
    child_secrets: tuple[str, ...] = ()  # names of those that a copy of a running VM may read, too
    env_files: tuple[Path, ...] = ()
    uuid: str = ""  # machine.unique_id()
    capture: Path | None = None  # packets of the cards, in pcap format: capture_files()
    hypervisor: str = DEFAULT_HYPERVISOR
    name: str = ""  # of a Xen domain, made unique by the UUID
    children: int | None = None  # copies of it that may run at a time; None: the image does not fork
    verified: str = ""  # SHA-256 of the image whose signature was checked; "": none was asked for

    @property
    def small_pages(self) -> bool:
        """Whether the host is to back its memory with pages of 4 KiB alone. QEMU asks for huge ones, of which each
        costs a small guest 2 MiB and their zeroing, and which it touches little of."""
        return self.memory <= _SMALL


@dataclass(frozen=True)
class Wires:
    """Sockets that a hypervisor inherits: the guest's console, its 16550, the hypervisor's own events, and the guest's
    family if it may have one. Each is the number of a descriptor, or a word that will be replaced by one. listening:
    clients come and go. copied: the guest's state comes from another VM. packets: a pipe into which the first card's
    frames go, as pcap, for as long as somebody reads it."""

    console: str
    serial: str
    events: str
    listening: bool = False
    family: str = ""
    copied: bool = False
    packets: str = ""
    ram: str = ""  # a file that is the guest's memory; "": memory of the hypervisor's own
    once: str = ""  # in front of each word that is for the first start alone
    ram_shared: bool = False  # what the guest writes is written to that file


def parse_memory(text: str) -> int:
    """--memory's value in bytes. Raises UsageError."""
    try:
        return units.parse_memory(text)
    except units.SizeError as e:
        raise UsageError(f"--memory {text}: {e.problem}", hint=f"--memory {e.nearest or '32M'}") from None


def for_paste(spec: VmSpec) -> VmSpec:
    """The same with --env's variables on the command line, for whoever is to read it or to type it."""
    return replace(spec, env=tuple({**dict(spec.env), **dict(spec.asked)}.items()), asked=())


def capture_files(spec: VmSpec) -> list[Path]:
    """The file of each card's packets: `capture` itself for the first, NAME.1.pcap, NAME.2.pcap for further ones."""
    path = spec.capture
    if path is None:
        return []
    return [path if i == 0 else path.with_name(f"{path.stem}.{i}{path.suffix}") for i in range(len(spec.cards))]
