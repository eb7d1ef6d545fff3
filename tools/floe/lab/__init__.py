# SPDX-License-Identifier: MIT
"""Labs: a Linux under QEMU's emulation, from a snapshot, that runs scripts. Those there are: xenlab, kvmlab."""
