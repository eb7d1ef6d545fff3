# SPDX-License-Identifier: MIT
"""What a VM's plan asks of a hypervisor, answered for the QEMU of another host."""

from __future__ import annotations

import functools

from floe.errors import HostError, UsageError, VmError
from floe.fleet import domain
from floe.fleet.connection import Host
from floe.hosts import table
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
        if why_not := _why_no_kvm(self._host):
            if wanted == "kvm":
                raise VmError(f"KVM does not serve on {self._host.name}: {why_not}", hint="--accel tcg")
            return "tcg", why_not
        return "kvm", ""


@functools.lru_cache(maxsize=16)  # of a stack's VMs each asks
def _why_no_kvm(host: Host) -> str:
    """Empty where it serves. Raises HostError for a host that does not answer."""
    try:
        host.ask(lambda connection: connection.getDomainCapabilities(None, _ARCH, None, "kvm"))
    except HostError as e:
        if not e.code:
            raise
        return e.message
    return ""


def check_host(name: str, *, moving: str = "") -> None:
    """Without asking it. moving: the VM that is to go there or comes from there. Raises UsageError for a dom0,
    ConfigError."""
    entry = table.read().get(name)  # of one that is not in it whoever opens it tells
    if entry is None or not entry.uri.startswith("xen"):
        return
    if moving:
        hint = f"by hand, from one dom0 to another: xl migrate {moving} DOM0; else stop it, and start it there"
        raise UsageError(f"{name} is a dom0: floe moves no VM to one or from one", hint=hint)
    raise UsageError(
        f"{name} is a dom0: floe starts VMs on one from there alone", hint="there: floe run --hypervisor xen"
    )


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
