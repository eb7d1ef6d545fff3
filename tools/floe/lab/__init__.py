# SPDX-License-Identifier: MIT
"""Labs: a Linux under QEMU's emulation, from a snapshot, that runs scripts. What they hold: floe.xen, floe.kvm."""
