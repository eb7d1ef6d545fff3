# SPDX-License-Identifier: MIT
"""Xen on the host: domains, in the lab or in a local dom0."""
