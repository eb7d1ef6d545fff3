# SPDX-License-Identifier: MIT
"""What tests ask of the lab's dom0."""

from __future__ import annotations

from floe.xenlab import lab


def domains() -> dict[str, int]:
    """Name and number of every guest that Xen knows."""
    rows = [line.split() for line in lab.call("xl list").splitlines()[2:]]
    return {row[0]: int(row[1]) for row in rows}
