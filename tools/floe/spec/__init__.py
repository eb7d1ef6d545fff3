# SPDX-License-Identifier: MIT
"""What to boot and with what, as data: cards, forwarded ports, disks, secrets. Knows no hypervisor."""
