# SPDX-License-Identifier: MIT
"""What the owner of a VM needs of a hypervisor, and each hypervisor's part behind it."""
