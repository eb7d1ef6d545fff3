# SPDX-License-Identifier: MIT
"""Where detached VMs are written down."""
