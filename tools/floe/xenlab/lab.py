# SPDX-License-Identifier: MIT
"""The Xen lab when it is up: scripts in its dom0, ports to guests, addresses for them."""

from __future__ import annotations

import shlex
from pathlib import Path

from floe.errors import FloeError, UsageError
from floe.lab.connection import NETWORK_BITS, Forward, Lab
from floe.lab.leases import Lease, lock

BRIDGE = "xenbr0"
FIRST_GUEST, LAST_GUEST = 16, 250  # of 10.0.2.0/24
_NO_GUEST = (0, 2, 3, 14, 255)  # the network's own, the gateway, the name server, dom0, all

LAB = Lab(name="xen", title="the Xen lab", linux="dom0", terminal="dom0.log", log="xen.log")
DOM0, GATEWAY, DNS = LAB.address, LAB.gateway, LAB.dns
folder, read_record, is_up, running, evidence = LAB.folder, LAB.read_record, LAB.is_up, LAB.running, LAB.evidence
connect, call, qmp, monitor = LAB.connect, LAB.call, LAB.qmp, LAB.monitor
forward, forget_dead_forwards = LAB.forward, LAB.forget_dead_forwards

__all__ = [
    "BRIDGE", "DNS", "DOM0", "GATEWAY", "LAB", "NETWORK_BITS", "Address", "Forward", "call", "check_bridge", "connect",
    "evidence", "folder", "forget_dead_forwards", "forward", "is_up", "monitor", "qmp", "read_record", "running",
    "take_address", "xen_log_tail",
]  # fmt: skip


class Address(Lease):
    """An IPv4 address of the lab's network that no other guest uses."""

    def __init__(self, fd: int, path: Path) -> None:
        super().__init__(fd, path)
        self.text = path.name


def take_address(number: int | None = None) -> Address:
    """A free guest address, or 10.0.2.`number`. Raises NotFound without a lab, UsageError for one that no guest may
    have, FloeError when all (or it) are taken."""
    if number in _NO_GUEST:
        raise UsageError(f"10.0.2.{number} is the Xen lab's own", hint=f"10.0.2.{FIRST_GUEST} to 10.0.2.{LAST_GUEST}")
    running()
    for n in range(FIRST_GUEST, LAST_GUEST + 1) if number is None else (number,):
        if (lease := lock(folder() / "addresses" / f"10.0.2.{n}")) is not None:
            return Address(lease, folder() / "addresses" / f"10.0.2.{n}")
    what = "all guest addresses of the Xen lab are" if number is None else f"10.0.2.{number} in the Xen lab is"
    raise FloeError(f"{what} taken", hint="floe ps, floe stop NAME")


def check_bridge(name: str) -> None:
    """Raises NotFound without a lab, UsageError where dom0 has no bridge of this name."""
    if call(f"[ ! -d /sys/class/net/{shlex.quote(name)}/bridge ] || echo there") != "there\n":
        raise UsageError(f"the Xen lab's dom0 has no bridge {name}", hint=f"floe lab xen run brctl addbr {name}")


def xen_log_tail(lines: int = 12) -> str:
    """The last lines of what the hypervisor and dom0's kernel said."""
    return LAB.log_tail(LAB.log, lines)
