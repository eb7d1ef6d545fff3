# SPDX-License-Identifier: MIT
"""VMs that go on without their command: the keeper, QEMU's parent, and what the verbs ask of them."""
