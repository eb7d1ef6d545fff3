# SPDX-License-Identifier: MIT
"""Private copies of disks, for a VM that is a copy of another one. They have no name, and end with who holds them."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from floe.spec.disks import Disk

_FICLONE = 0x40049409  # linux/fs.h
_CHUNK = 1 << 20


class PrivateDisks:
    """The disks of a VM for its copy, or for a copy of its copy: those that it only reads are shared, of the others it
    gets files of its own, which fill() makes what the original's are at that moment. Raises OSError."""

    def __init__(self, disks: Sequence[Disk]) -> None:
        self.fds: list[int] = []  # to be inherited by number
        own = []
        try:
            for disk in disks:
                if not disk.readonly:
                    fd = _file_of_size(disk.path)
                    self.fds.append(fd)
                    disk = replace(disk, path=Path(f"/dev/fd/{fd}"), size=0)
                own.append(disk)
        except BaseException:
            self.close()
            raise
        self.disks = tuple(own)

    @classmethod
    def blank(cls, disks: Sequence[Disk], sizes: Sequence[int]) -> PrivateDisks:
        """Files of these sizes for disks of another machine's, also for those that are only read. Raises OSError."""
        made = cls(())
        own = []
        try:
            for disk, size in zip(disks, sizes, strict=True):
                fd, name = tempfile.mkstemp(prefix="floe-disk-")
                made.fds.append(fd)
                os.unlink(name)
                os.ftruncate(fd, size)
                own.append(replace(disk, path=Path(f"/dev/fd/{fd}"), size=0))
        except BaseException:
            made.close()
            raise
        made.disks = tuple(own)
        return made

    async def fill(self, original: Sequence[Disk], progress: Callable[[], None] = lambda: None) -> None:
        """Copy what the original's disks hold; it must not write meanwhile. progress: called now and then by another
        thread, while it goes on. Raises OSError."""

        def wanted() -> bool:
            if self.fds:
                progress()
            return bool(self.fds)

        written = [disk.path for disk in original if not disk.readonly]
        for path, fd in zip(written, self.fds, strict=True):
            # The thread goes on where the fork is given up, and by then the number may be another file's.
            await asyncio.shield(asyncio.to_thread(_copy, path, os.dup(fd), wanted))

    def close(self) -> None:
        """Let go of them. May be called more than once."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []


def _file_of_size(path: Path) -> int:
    """A new file without a name, as long as this one and, where it can be, in the same file system."""
    with path.open("rb") as f:
        size = f.seek(0, os.SEEK_END)
    folder = os.path.dirname(os.path.realpath(path))
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # a block device's folder, a file system that cannot
        fd, name = tempfile.mkstemp()
        os.unlink(name)
    try:
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _copy(path: Path, target: int, wanted: Callable[[], bool]) -> None:
    """What a file holds, without its holes, into one that is empty, which is closed then."""
    try:
        with path.open("rb") as f:
            try:
                fcntl.ioctl(target, _FICLONE, f.fileno())
            except OSError:  # not in this file system, or not between two
                _copy_data(f.fileno(), target, wanted)
    finally:
        os.close(target)


def _copy_data(source: int, target: int, wanted: Callable[[], bool]) -> None:
    for start, end in data_areas(source):
        at = start
        while at < end and wanted():
            data = os.pread(source, min(_CHUNK, end - at), at)
            if not data:
                return
            at += os.pwrite(target, data, at)
        if not wanted():
            return


def data_areas(fd: int) -> Iterator[tuple[int, int]]:
    """Where bytes lie that are not a hole: from, to. Raises OSError."""
    at, size = 0, os.lseek(fd, 0, os.SEEK_END)
    while (found := _next_data(fd, at)) is not None:
        at = found[1] or size
        yield found[0], at


def _next_data(fd: int, at: int) -> tuple[int, int] | None:
    """Where the next bytes lie that are not a hole: from, to (0: to the end). None: there are no more."""
    try:
        start = os.lseek(fd, at, os.SEEK_DATA)
        return start, os.lseek(fd, start, os.SEEK_HOLE)
    except OSError as e:
        if e.errno == errno.ENXIO:
            return None
        return (at, 0) if at == 0 else None  # a block device has no holes to ask for
