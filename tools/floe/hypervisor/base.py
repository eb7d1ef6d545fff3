# SPDX-License-Identifier: MIT
"""What the owner of a VM needs of a hypervisor: the command that starts it, and what it tells while it runs.

Whatever is started takes three sockets (the guest's console, its 16550, and its own events), ends when the guest ends,
and its exit status says how: (code + 1) << 1 | 1 for the guest's exit code, 0 for an end without one.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from floe.errors import VmError
from floe.landlock import Confinement
from floe.spec import handover
from floe.spec.network import Card
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import VmSpec, Wires

# Names of events: RESUME once the guest runs, SHUTDOWN (reason), STOP, and FAILED (message, evidence, hint) for a
# hypervisor that cannot go on.
OnEvent = Callable[[str, Mapping[str, Any]], None]


class GuestMemory(Protocol):
    """A running guest's memory, to be read and not written."""

    def read(self, address: int, size: int) -> bytes:
        """By physical address. Raises OSError."""

    def close(self) -> None:
        """Read no more."""


class Heard(Protocol):
    """The frames of a VM's network card, from now on."""

    seconds_apart: bool  # the stamps of the two ways may differ by whole seconds, beside what they should
    lost: int  # frames that came too fast, in all

    def read(self) -> list[tuple[bool, int, int, bytes]]:
        """Those that came since: whether it comes in to the guest, when, in ns of a clock of its own, bytes that it
        has, and the first ones of them."""

    async def close(self) -> None:
        """Hear no more."""


@dataclass(frozen=True)
class HostUse:
    """What a VM has used of its host that is no process of this machine. at: when, by time.monotonic()."""

    at: float
    cpu_s: float
    bytes: int


class Hypervisor(Protocol):
    """One VM's; it may hold what was lent to the VM until release()."""

    label: str  # for messages
    is_the_vm: bool  # its process is the VM: what that one uses of the host, the guest does
    has_16550: bool  # where early boot and panics are heard; without one they come on the console
    kill_grace_s: float  # what it may take to end after SIGTERM
    machines: tuple[str, ...]  # values of VmSpec.machine; --machine chooses where there are several
    accels: tuple[str, ...]  # values of --accel; empty where there is nothing to choose
    card_kinds: tuple[str, ...]  # of network cards
    forwarding_kinds: tuple[str, ...]  # of network cards that ports are forwarded to
    copies: bool  # whether a running VM can be copied: send_copy(), expect_copy(), run_copy()
    copies_to_hosts: bool  # whether a copy may run on another host
    copy_s: float  # what a fork may take, on a busy machine; a guest waits for 240
    is_here: bool  # on this machine, whose ports and disks are looked at before a start
    guards_egress: bool  # what a guest may reach is held by confinement(): VmSpec.egress
    relays_forwards: bool  # what it cannot forward itself goes through a relay of ours: ports.claim(through=True)

    # ---- while a VM is planned

    def check(self, options: RunOptions) -> None:
        """Raises UsageError for options that are another hypervisor's."""

    def forwards_own(self) -> bool:
        """Whether the image's own ports are forwarded: not where a guest has an address of its own."""

    def choose_accel(self, wanted: str) -> tuple[str, str]:
        """VmSpec.accel for the value of --accel, and why a faster one was passed over ("" where none was). Raises
        UsageError, VmError."""

    def state_key(self, spec: VmSpec) -> dict[str, str]:
        """What must be the same where a guest's state is to go on, by the names that people read, but for `version`."""

    def with_macs(self, cards: Sequence[Card], uuid: str) -> tuple[Card, ...]:
        """The cards with those hardware addresses that are known before the VM starts."""

    def before_claim(self, *, forwards: bool, disks: bool) -> None:
        """Take back what dead VMs still hold, before forwards and disks of a new one are found to be in use."""

    # ---- while it runs

    def command(
        self, spec: VmSpec, wires: Wires, blobs: Sequence[handover.Blob]
    ) -> AbstractContextManager[tuple[list[str], list[int]]]:
        """The command, and the descriptors beside the wires that it must inherit; they are closed at the end."""

    def confinement(
        self, spec: VmSpec, wires: Wires, argv: Sequence[str]
    ) -> AbstractContextManager[Confinement | None]:
        """What the process of this command takes upon itself before it becomes that, good until the end of the context.
        None: nothing. Raises VmError."""

    def show(self, spec: VmSpec, *, as_json: bool) -> str:
        """What a person would type to boot `spec`, for --dry-run."""

    def placed_cards(self, cards: Sequence[Card]) -> tuple[Card, ...]:
        """The network cards as the guest has them, once command() has been asked."""

    def greet(self, sock: socket.socket, *, copied: bool = False) -> None:
        """Say what the hypervisor must hear before its first event. copied: the guest runs only by run_copy(). Raises
        OSError."""

    def interrupt(self) -> bool:
        """Make the guest say where it stands (a PANIC line, Python frames), write out its console, and end. False:
        there is no way to."""

    async def instruction(self) -> int:
        """The address that the guest's processor is at, which goes on. Raises VmError, where nobody can tell too."""

    async def exits(self) -> dict[str, int]:
        """How often the processor has left the guest since it started: "exits" in all, NAME_exits for a reason. Raises
        VmError, where nobody counts too."""

    async def hear(self, pid: int, index: int, card: Card) -> Heard:
        """The frames of one of the network cards of the VM that this process is. Raises VmError."""

    async def watch(self, sock: socket.socket, on_event: OnEvent) -> None:
        """Deliver the events from our end of their socket, which becomes ours to close, until the hypervisor closes it;
        returns after the last one was delivered."""

    async def send_copy(self, fd: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Stop the guest, call `meanwhile`, write its state to this socket, and let it go on whatever happens. Raises
        VmError and what `meanwhile` does."""

    async def expect_copy(self, fd: int) -> None:
        """Wait until a guest's state may be written to the other end of this socket, which the hypervisor has
        inherited. Raises VmError."""

    async def run_copy(self) -> None:
        """Wait until the state is there, and let the guest run. Raises VmError."""

    def likeness(self, kind: str) -> dict[str, str]:
        """What must be alike on another host where a copy of a VM is to run, each with its name; kind: of accelerator.
        Raises FloeError."""

    async def devices(self) -> bytes:
        """After expect_copy(), once the state is there: what of it is not the guest's memory. The guest does not run
        here any more. Raises VmError."""

    async def load(self, devices: bytes, version: str) -> None:
        """Take a guest's state beside its memory, which is here by Wires.ram; run_copy() lets it run. version: whose
        it is. Raises VmError, for another version too."""

    @property
    def version(self) -> str:
        """Which version of it runs, once it does; a guest's state is good for that one alone."""

    def preload(self) -> None:
        """Load what watch() would load while the guest starts."""

    def widen_ports(self, pid: int) -> None:
        """The guest runs, and has forwarded ports: let more clients wait there than the hypervisor does."""

    def memory(self, pid: int, size: int, machine: str, known: tuple[int, bytes]) -> GuestMemory | None:
        """The memory of a guest of `size` bytes, in which these bytes are `known` to lie at an address; None where it
        cannot be read at all. Raises OSError."""

    def host_uses(self, uuids: Mapping[str, str], deadline_s: float) -> dict[str, HostUse]:
        """What VMs use that are not their processes (is_the_vm), by name; without those of which nothing is known. All
        are asked for at once. uuids: of each, by name. Raises FloeError, OSError."""

    def release(self) -> None:
        """Give back what was lent. May be called more than once."""


def refusal(data: Mapping[str, Any]) -> VmError:
    """The error that a FAILED event tells of."""
    message, evidence, hint = (str(data.get(key, "")) for key in ("message", "evidence", "hint"))
    return VmError(message or "the hypervisor failed", evidence=evidence, hint=hint)
