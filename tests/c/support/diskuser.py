# SPDX-License-Identifier: MIT
"""The other end of disk_user.c: what a test does with a disk, whatever driver it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from tests.c.support.harness import Harness


class DiskRead(NamedTuple):
    """result: 0 or -errno; wrong: bytes that are not what was written."""

    result: int
    wrong: int


class DiskInfo(NamedTuple):
    """A disk as blkdev_t describes it. A size is in bytes; yes and no are 1 and 0."""

    sectors: int
    sector_size: int
    max_bytes: int
    depth: int
    readonly: int
    volatile_cache: int
    can_discard: int
    dead: int


class DiskUser(ABC):
    """Reads and writes the disk that was chosen last (`use`), through blkdev.c. A subclass is the disk."""

    def __init__(self, h: Harness) -> None:
        self.h = h

    @abstractmethod
    def up(self) -> DiskUser:
        """The driver finds the disk."""

    def use(self, number: int) -> None:
        self.h.do("disk_use", number)

    def info(self) -> DiskInfo:
        return DiskInfo(*self.h.numbers("disk_info"))

    def log(self) -> str:
        return self.h.do("disk_log").strip()

    def write(self, at: int, n: int, seed: int = 1) -> int:
        return self.h.number("disk_write", at, n, seed)

    def ordered(self, at: int, n: int, seed: int = 1) -> int:
        return self.h.number("disk_ordered", at, n, seed)

    def read(self, at: int, n: int, seed: int = 1) -> DiskRead:
        """Compared with what write() with this seed wrote."""
        return DiskRead(*self.h.numbers("disk_read", at, n, seed))

    def flush(self) -> int:
        return self.h.number("disk_flush")
