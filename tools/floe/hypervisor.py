# SPDX-License-Identifier: MIT
"""What the owner of a VM needs of a hypervisor: the command that starts it, and what it tells while it runs.

Whatever is started takes three sockets (the guest's console, its 16550, and its own events), ends when the guest ends,
and its exit status says how: (code + 1) << 1 | 1 for the guest's exit code, 0 for an end without one. Prints nothing.
"""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Protocol

from floe import handover, qemu, qmp, taps
from floe.errors import UsageError, VmError
from floe.qemu import Endpoints, VmSpec, Wires

HYPERVISORS = ("qemu", "xen")

# Names of events: RESUME once the guest runs, SHUTDOWN (reason), STOP, and FAILED (message, evidence, hint) for a
# hypervisor that cannot go on.
OnEvent = Callable[[str, Mapping[str, Any]], None]


class Hypervisor(Protocol):
    """One VM's; it may hold what was lent to the VM until release()."""

    label: str  # for messages
    has_16550: bool  # where early boot and panics are heard; without one they come on the console
    kill_grace_s: float  # what it may take to end after SIGTERM

    def command(
        self, spec: VmSpec, wires: Wires, blobs: Sequence[handover.Blob]
    ) -> AbstractContextManager[tuple[list[str], list[int]]]:
        """The command, and the descriptors beside the wires that it must inherit; they are closed at the end."""

    def show(self, spec: VmSpec, *, as_json: bool) -> str:
        """What a person would type to boot `spec`, for --dry-run."""

    def greet(self, sock: socket.socket) -> None:
        """Say what the hypervisor must hear before its first event. Raises OSError."""

    def interrupt(self) -> bool:
        """Make the guest say where it stands (a PANIC line, Python frames), write out its console, and end. False:
        there is no way to."""

    async def watch(self, sock: socket.socket, on_event: OnEvent) -> None:
        """Deliver the events from our end of their socket, which becomes ours to close, until the hypervisor closes it;
        returns after the last one was delivered."""

    def release(self) -> None:
        """Give back what was lent. May be called more than once."""


class Qemu:
    """QEMU, and QMP for its events."""

    label = "QEMU"
    has_16550 = True
    kill_grace_s = 2.0

    def __init__(self) -> None:
        self._monitor: socket.socket | None = None

    @contextmanager
    def command(
        self, spec: VmSpec, wires: Wires, blobs: Sequence[handover.Blob]
    ) -> Iterator[tuple[list[str], list[int]]]:
        """QEMU's command line; secrets and env files are in memory."""
        joined = taps.bridged(spec.cards, captured=spec.capture is not None)
        with handover.in_memory(blobs) as (files, fds), joined as (cards, more):
            spec = replace(spec, cards=cards)
            yield qemu.command_line(spec, Endpoints.for_wires(wires), files), [*fds, *more]

    def show(self, spec: VmSpec, *, as_json: bool) -> str:
        """A command line to be pasted."""
        argv = qemu.command_line(spec, Endpoints.for_paste())
        return json.dumps(argv) if as_json else shlex.join(argv)

    def greet(self, sock: socket.socket) -> None:
        """Ask for QMP's command mode, from which on events come, and for the guest to run."""
        self.release()
        self._monitor = sock.dup()
        qmp.negotiate(sock)

    def interrupt(self) -> bool:
        """By an NMI."""
        try:
            if self._monitor is not None:
                qmp.inject_nmi(self._monitor)
        except OSError:  # it ends already
            return False
        return self._monitor is not None

    async def watch(self, sock: socket.socket, on_event: OnEvent) -> None:
        """QMP by its library."""
        await qmp.watch(sock, on_event)

    def release(self) -> None:
        """Nothing is lent; our end of QMP."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None


def of(name: str) -> Hypervisor:
    """The hypervisor of one VM. Raises UsageError."""
    if name == "xen":
        from floe.xen.hypervisor import Xen

        return Xen()
    if name != "qemu":
        raise UsageError(f"--hypervisor {name}: no such hypervisor", hint=f"one of {', '.join(HYPERVISORS)}")
    return Qemu()


def refusal(data: Mapping[str, Any]) -> VmError:
    """The error that a FAILED event tells of."""
    message, evidence, hint = (str(data.get(key, "")) for key in ("message", "evidence", "hint"))
    return VmError(message or "the hypervisor failed", evidence=evidence, hint=hint)
