# SPDX-License-Identifier: MIT
"""What QEMU's own words mean for whoever started it. Uses the standard library only, as errors.py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_REFUSED = re.compile(r"^QEMU: [^:\s]+: (-[a-z]+) (.+?): (.+)$", re.MULTILINE)
_NO_MEMORY = re.compile(r"^QEMU: .*(cannot set up guest memory|Cannot allocate memory|cannot allocate)", re.MULTILINE)


def explain(problem: str, argv: Sequence[str], tail: str) -> tuple[str, str] | None:
    """The cause and the next step, where QEMU refused to start; None where it tells nothing more than `problem`.

    `tail`: its messages and the guest's, each with its label."""
    if "guest: " in tail or "killed" in problem:
        return None
    if _NO_MEMORY.search(tail) and "-m" in argv:
        free = available()
        wanted = int(argv[argv.index("-m") + 1].rstrip("K")) >> 10
        return (
            f"{wanted} MiB of memory for the guest cannot be had: {free >> 20} MiB of this machine's are free",
            f"--memory {max(4, (free >> 20) * 3 // 4)}M, or less",
        )
    if (match := _REFUSED.search(tail)) is not None:
        option, value, why = match.groups()
        return f"QEMU refuses {option} {value}: {why}", "floe run --dry-run ... prints the whole command"
    return None


def available(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes that programs can have without swapping; 0 where that is not told."""
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) << 10 if match else 0
