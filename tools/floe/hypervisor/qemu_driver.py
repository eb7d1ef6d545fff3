# SPDX-License-Identifier: MIT
"""QEMU as a hypervisor: its command line, and QMP for its events."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from floe.hostnet import taps
from floe.hypervisor.base import OnEvent
from floe.qemu import commandline, qmp, words
from floe.qemu.commandline import Endpoints
from floe.spec import handover
from floe.spec.vmspec import VmSpec, Wires


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
        with words.blobs_in_memory(blobs) as (files, fds), joined as (cards, more):
            spec = replace(spec, cards=cards)
            yield commandline.command_line(spec, Endpoints.for_wires(wires), files), [*fds, *more]

    def show(self, spec: VmSpec, *, as_json: bool) -> str:
        """A command line to be pasted."""
        argv = commandline.command_line(spec, Endpoints.for_paste())
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
