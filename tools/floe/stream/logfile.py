# SPDX-License-Identifier: MIT
"""A log of bounded size that never raises: what a full disk does not take is dropped, counted and told later.

Beside PATH, times.PATH says when its bytes came: records of an offset and a time, which holds up to the next one.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

LIMIT = 8 << 20  # bytes of one file; with the one before it a log takes twice that
_STAMP = struct.Struct("<Qd")  # offset in the log, time.time()
_STAMP_S = 0.01  # two times are at least so far apart
_TIMES_SHARE = 8  # of a log's limit, for its times


class Stamps:
    """The times of one log's file."""

    def __init__(self, path: Path) -> None:
        self._path = _times(path)
        self._offsets: list[int] = []
        self._at: list[float] = []

    def at(self, offset: int) -> float | None:
        """When the byte at `offset` came; None where that was not written down."""
        if not self._offsets or offset >= self._offsets[-1]:
            self._read()
        found = bisect.bisect_right(self._offsets, offset)
        return self._at[found - 1] if found else None

    def _read(self) -> None:
        """What has been added."""
        try:
            with self._path.open("rb") as f:
                f.seek(len(self._at) * _STAMP.size)
                data = f.read()
        except OSError:
            return
        for offset, at in _STAMP.iter_unpack(data[: len(data) // _STAMP.size * _STAMP.size]):
            self._offsets.append(offset)
            self._at.append(at)


def _times(path: Path) -> Path:
    return path.with_name(f"times.{path.name}")


class BoundedLog:
    """Appends bytes to `path`; at the limit that file becomes PATH.1 and a new one begins."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._fd = -1
        self._size = 0
        self._times_fd = -1
        self._times_size = 0
        self._stamped = 0.0
        self.lost = 0  # bytes that the disk did not take, since the last note about it
        self.at_line_end: Callable[[], bytes] = lambda: b""  # what is put behind the end of a line
        self._open()

    def write(self, data: bytes) -> None:
        """Append."""
        if end := data.rfind(b"\n") + 1:
            data = data[:end] + self.at_line_end() + data[end:]
        if self._fd < 0:
            self._open()
        if self.lost and self._put(note := self._note()) == len(note):
            self.lost = 0
        if self.lost:  # in order or not at all
            self.lost += len(data)
            return
        if self._size + len(data) > self._limit or self._times_size > self._limit // _TIMES_SHARE:
            self._rotate()
        self._stamp()
        self.lost = len(data) - self._put(data)

    def note(self, text: str) -> None:
        """Append a line of floe's own, which no line of another's runs into."""
        before = "" if self.between_lines else "\r\n"
        self.write(f"{before}[floe: {text}]\r\n".encode())

    @property
    def between_lines(self) -> bool:
        """Whether the last line is over."""
        if self._size == 0:
            return True
        with contextlib.suppress(OSError), self._path.open("rb") as f:
            f.seek(-1, os.SEEK_END)
            return f.read() == b"\n"
        return False

    def close(self) -> None:
        """Write no more."""
        for fd in (self._fd, self._times_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._times_fd = -1

    def _stamp(self) -> None:
        now = time.time()
        if self._times_fd >= 0 and abs(now - self._stamped) >= _STAMP_S:
            with contextlib.suppress(OSError):
                if os.write(self._times_fd, _STAMP.pack(self._size, now)) == _STAMP.size:
                    self._times_size += _STAMP.size
                    self._stamped = now
                else:
                    os.ftruncate(self._times_fd, self._times_size)

    def _note(self) -> bytes:
        return f"\r\n[floe: {self.lost} bytes are missing here: the disk was full]\r\n".encode()

    def _open(self) -> None:
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._size = os.fstat(self._fd).st_size
        except OSError:
            self._fd = -1
            return
        with contextlib.suppress(OSError):
            self._times_fd = os.open(_times(self._path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._times_size = os.fstat(self._times_fd).st_size // _STAMP.size * _STAMP.size
            os.ftruncate(self._times_fd, self._times_size)
            self._stamped = 0.0

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
            os.replace(self._path, older := self._path.with_name(f"{self._path.name}.1"))
            os.replace(_times(self._path), _times(older))
        self._open()
