# SPDX-License-Identifier: MIT
"""A log of bounded size that never raises: what a full disk does not take is dropped, counted and told later."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LIMIT = 8 << 20  # bytes of one file; with the one before it a log takes twice that


class BoundedLog:
    """Appends bytes to `path`; at the limit that file becomes PATH.1 and a new one begins."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._fd = -1
        self._size = 0
        self.lost = 0  # bytes that the disk did not take, since the last note about it
        self._open()

    def write(self, data: bytes) -> None:
        """Append."""
        if self._fd < 0:
            self._open()
        if self.lost and self._put(note := self._note()) == len(note):
            self.lost = 0
        if self.lost:  # in order or not at all
            self.lost += len(data)
            return
        if self._size + len(data) > self._limit:
            self._rotate()
        self.lost = len(data) - self._put(data)

    def close(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _note(self) -> bytes:
        return f"\r\n[floe: {self.lost} bytes are missing here: the disk was full]\r\n".encode()

    def _open(self) -> None:
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._size = os.fstat(self._fd).st_size
        except OSError:
            self._fd = -1

    def _put(self, data: bytes) -> int:
        """How many bytes the disk took."""
        done = 0
        try:
            while self._fd >= 0 and done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError:
            pass
        self._size += done
        return done

    def _rotate(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            os.replace(self._path, f"{self._path}.1")
        self._open()
