# SPDX-License-Identifier: MIT
"""QEMU: its command line, its monitor's protocol, the accelerators of this host."""
