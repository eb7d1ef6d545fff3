# SPDX-License-Identifier: MIT
"""One VM of this process: what to boot, its life from start to end, its console on the standard streams."""
