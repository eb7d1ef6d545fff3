# SPDX-License-Identifier: MIT
"""The hypervisors there are, by name."""

from __future__ import annotations

from floe.errors import UsageError
from floe.hypervisor.base import Hypervisor

HYPERVISORS = ("qemu", "xen")


def create(name: str) -> Hypervisor:
    """The hypervisor of one VM. Raises UsageError."""
    if name == "xen":
        from floe.hypervisor.xen_driver import Xen

        return Xen()
    if name != "qemu":
        raise UsageError(f"--hypervisor {name}: no such hypervisor", hint=f"one of {', '.join(HYPERVISORS)}")
    from floe.hypervisor.qemu_driver import Qemu

    return Qemu()
