# SPDX-License-Identifier: MIT
"""Programs of other packages, run without a question, and their words when they fail."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence

from floe.errors import DiskFull, FloeError

_TIMEOUT_S = 120
_FULL = (os.strerror(errno.ENOSPC), "Disk full", "exceeds free space")  # the C library's, mtools', xorriso's words


def run(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Raises FloeError with what it said, DiskFull where that is it."""
    own = os.environ | {"LC_ALL": "C.UTF-8", "TZ": "UTC0", "MTOOLSRC": os.devnull} | dict(environment or {})
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", env=own,
            timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise FloeError(f"{argv[0]} did not end within {_TIMEOUT_S} s") from None
    if done.returncode:
        said = (done.stderr + done.stdout).strip()[-1000:]
        if any(words in said for words in _FULL):
            raise DiskFull(str(argv[-1]))
        raise FloeError(f"{argv[0]} failed", evidence=said)
