# SPDX-License-Identifier: MIT
"""Files that a user names, read and replaced: only what is a file, and no more of it than is believed."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from floe.errors import FloeError, UsageError

MAX_TEXT = 16 << 20  # of a script or a table


def read_file(path: Path, at_most: int = MAX_TEXT) -> bytes:
    """The whole of a file. Raises OSError as open() does, and FloeError for what is none, as a FIFO, or is larger."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FloeError(f"{path} is no file", hint="a copy of what it gives, in a file")
        content = file.read(at_most + 1) if os.fstat(file.fileno()).st_size <= at_most else None
    if content is None or len(content) > at_most:
        raise FloeError(f"{path} has more than {at_most >> 20} MiB", hint="ls -l shows the sizes")
    return content


def forget(path: Path) -> None:
    """Remove what a failed write may have left; where that fails, too, the write's own error is the one to tell."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def check_replaceable(path: Path) -> None:
    """Raises UsageError for a name of what a new file must not stand for: a device, which root could replace."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'no file'}", hint="name a file")
