# SPDX-License-Identifier: MIT
"""The Xen lab: a real Xen with a small dom0, under QEMU's emulation."""
