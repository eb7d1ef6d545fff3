# SPDX-License-Identifier: MIT
"""What is written down of a detached VM: the files of its folder, and what stands in them. vmfolder.py reads them."""

from __future__ import annotations

from typing import Any

import msgspec

from floe.errors import UsageError
from floe.spec.ports import Forward, forward_of
from floe.spec.restart import Policy, parse_restart
from floe.spec.vmspec import DEFAULT_HYPERVISOR

PLACES = ("@CONSOLE@", "@SERIAL@", "@QMP@")  # in Spec.argv, for the descriptors of Names.PARTS
FAMILY_PLACE = "@FAMILY@"  # for that of Names.FAMILY, where the guest may fork


class Names:
    """Every file of a VM's folder."""

    # Documents.
    SPEC = "spec.json"  # what was asked for
    PLAN = "vm.json"  # all that a start takes
    PARENT = "parent.json"  # the process that starts the hypervisor
    KEEPER = "keeper.json"
    ENDPOINTS = "endpoints.json"  # where clients connect
    # Records, which parent.py writes too.
    PID = "pid"  # the hypervisor's
    EXIT = "exit"  # its exit status
    END = "end"  # what became of the VM
    LIFE = "life"  # its restarts
    # What the VM was started from, and what it and its processes said.
    IMAGE = "image.elf"
    PROGRAM = "parent.py"  # the parent's, as it was when the VM was first started: another floe may be installed by now
    CONFINED = "confined.py"  # floe.confined, for that one
    EGRESS = "egress"  # a folder: floe.egress, for that one too
    REFUSED = "refused"  # a FIFO: what its guard refused
    CONSOLE_LOG = "console.log"
    SERIAL_LOG = "serial.log"
    HYPERVISOR_LOG = "hv.log"
    KEEPER_LOG = "keeper.log"
    LOCK = "lock"  # the keeper's, and touched by it now and then
    # Sockets, which lie elsewhere where this folder's path is too long for them.
    CONTROL = "ctl"  # the keeper's
    CONSOLE = "console.sock"  # clients'
    PARTS = ("hv.console", "hv.serial", "hv.qmp")  # the hypervisor's: console, 16550, events
    FAMILY = "hv.family"  # and its guest's family

    RECORDS = (EXIT, END, LIFE, PID)
    LONGEST_SOCKET = f"{PARTS[0]}.new"


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; never changes. `argv` has PLACES where the keeper puts descriptors."""

    name: str
    app: str
    profile: str
    argv: list[str]
    memory: int  # bytes
    accel: str
    machine: str
    ports: list[dict[str, Any]]
    created: float  # time.time()
    sockets: str  # folder of the sockets
    leftovers: list[str] = []  # files that a hypervisor leaves behind when it does not end in order
    hypervisor: str = DEFAULT_HYPERVISOR
    console_port: int | None = None  # a TCP port for the console is wanted: this one, 0 any
    restart: str = "no"  # as restart.Policy
    command: list[str] = []  # words of a `floe run` in the foreground; none: nobody knows them
    handed: list[int] = []  # descriptors that the hypervisor inherits: secrets, taps, leases
    confined: str = ""  # what parent.py has behind its word for it: a descriptor among the handed ones, capabilities

    egress: str = ""  # Confinement.egress
    origin: str = ""  # the snapshot that it goes on from
    snapshot: int = -1  # its descriptor, among the handed ones
    pool: str = ""  # it waits until it is claimed, among the others that go on from the snapshot of this identity

    @property
    def ruleset(self) -> int:
        """The descriptor in `confined`, -1 where there is none."""
        return int(self.confined.partition(",")[0] or -1)

    @property
    def parts(self) -> dict[str, str]:
        """The hypervisor's sockets: the file of each place in `argv`."""
        files = dict(zip(PLACES, Names.PARTS, strict=True))
        return files | {FAMILY_PLACE: Names.FAMILY} if any(FAMILY_PLACE in word for word in self.argv) else files

    @property
    def policy(self) -> Policy:
        """`restart`, read; a word of another floe's is "no"."""
        try:
            return parse_restart(self.restart)
        except UsageError:
            return Policy()

    @property
    def forwards(self) -> list[Forward]:
        """`ports`, as they were asked for."""
        return [forward_of(port) for port in self.ports]


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where clients find the console."""

    pty: str  # /dev/pts/N
    port: int  # of 127.0.0.1; 0: none
    unix: str  # path of the UNIX socket

    @property
    def url(self) -> str | None:
        """As pyserial and mpremote take it; None without a port."""
        return f"socket://127.0.0.1:{self.port}" if self.port else None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a VM ended. code None: nobody saw it, or the hypervisor failed; `problem` says more."""

    code: int | None
    cause: str  # as vm.Outcome; "stopped": exit when it was asked to; "failed", "unknown"
    at: float  # time.time()
    problem: str = ""


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What a VM's keeper has done for it."""

    restarts: int = 0
    delay: float = 0.0  # seconds that the last of them waited
    began: float = 0.0  # time.time() of the guest's last start; 0: it has not started yet
    waiting: bool = False  # to be claimed
