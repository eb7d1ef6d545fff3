# SPDX-License-Identifier: MIT
"""Xen on the host: the lab (a real Xen under QEMU's emulation) and domains, in the lab or in a local dom0."""
