# SPDX-License-Identifier: MIT
"""What a VM's plan asks of a hypervisor, answered for the QEMU of another host."""

from __future__ import annotations

from floe.errors import HostError, UsageError, VmError
from floe.fleet import domain
from floe.fleet.connection import Host
from floe.hypervisor.qemu_driver import Qemu
from floe.spec.disks import parse_disks
from floe.spec.runoptions import RunOptions

_ARCH = "x86_64"
_LATER = "not on another host yet"


class Elsewhere(Qemu):
    """QEMU, as a host's libvirt starts it. Plans alone: fleet/vms.py starts."""

    label = "libvirt"
    machines: tuple[str, ...] = ("microvm", "q35")
    card_kinds = domain.CARDS
    copies = False
    copies_to_hosts = False
    is_here = False
    guards_egress = False
    relays_forwards = False

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def check(self, options: RunOptions) -> None:
        """Raises UsageError for what cannot be had there."""
        check(options)

    def choose_accel(self, wanted: str) -> tuple[str, str]:
        """KVM where it serves there."""
        if wanted == "tcg":
            return "tcg", ""
        try:
            self._host.ask(lambda connection: connection.getDomainCapabilities(None, _ARCH, None, "kvm"))
        except HostError as e:
            if not e.code:
                raise
            if wanted == "kvm":
                raise VmError(f"KVM does not serve on {self._host.name}: {e.message}", hint="--accel tcg") from None
            return "tcg", e.message
        return "kvm", ""


def check(options: RunOptions) -> None:
    """What needs no host to be seen. Raises UsageError."""
    if options.machine not in Elsewhere.machines:
        raise UsageError(f"--machine {options.machine}: {_LATER}", hint=f"one of {', '.join(Elsewhere.machines)}")
    if options.hypervisor != "qemu":
        raise UsageError(f"--hypervisor {options.hypervisor}: {_LATER}", hint="without --hypervisor")
    parse_disks(options.disks, elsewhere=True)
    if options.capture is not None:
        raise UsageError(f"--capture {options.capture}: {_LATER}")
    if options.stamps:
        raise UsageError(f"--stamps: {_LATER}", hint="without --host")
