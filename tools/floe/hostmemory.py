# SPDX-License-Identifier: MIT
"""The memory of this machine."""

from __future__ import annotations

from pathlib import Path

_SPARE = 64 << 20  # bytes that are left alone


def left() -> int:
    """Bytes that the host can still give; plenty where it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 62


def has_room(size: int) -> bool:
    """Whether the host has memory for a VM of so many bytes."""
    return left() >= size + _SPARE
