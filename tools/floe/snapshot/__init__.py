# SPDX-License-Identifier: MIT
"""A VM's state as a file: written, checked, read, and disks of their own for VMs that are made of it."""
