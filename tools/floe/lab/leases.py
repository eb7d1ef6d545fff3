# SPDX-License-Identifier: MIT
"""What a lab lends: a file that its borrower holds locked, flock(2). The kernel gives it back when that one dies."""

from __future__ import annotations

import fcntl
import os
import select
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_LOOK_S = 0.02


class Lease:
    """Something lent, until close() or the end of this process. A context manager."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The locked file: who inherits it holds what is lent too."""
        return self._fd

    def close(self) -> None:
        """Give it back. A second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def lock(path: Path, *, wait_s: float = 0) -> int | None:
    """A descriptor that holds the file locked; None when somebody else has held it all the time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    ends = time.monotonic() + wait_s
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == os.stat(path).st_ino:
                return fd
        except BlockingIOError:
            os.close(fd)
            if (left := ends - time.monotonic()) <= 0:
                return None
            select.select([], [], [], min(left, _LOOK_S))
            continue
        except FileNotFoundError:
            pass  # removed between the two: once more
        os.close(fd)
