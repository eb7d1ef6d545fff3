# SPDX-License-Identifier: MIT
"""The other end of disk_user.c: what a test does with a disk, whatever driver it has."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tests.c.support.harness import Harness


class DiskUser(ABC):
    """Reads and writes the disk that was chosen last (`use`), through blkdev.c. A subclass is the disk."""

    def __init__(self, h: Harness) -> None:
        self.h = h

    @abstractmethod
    def up(self) -> DiskUser:
        """The driver finds the disk."""

    def use(self, number: int) -> None:
        self.h.do("disk_use", number)

    def info(self) -> list[int]:
        """sectors, sector_size, max_bytes, depth, readonly, volatile_cache, can_discard, dead"""
        return self.h.numbers("disk_info")

    def log(self) -> str:
        return self.h.do("disk_log").strip()

    def write(self, at: int, n: int, seed: int = 1) -> int:
        return self.h.number("disk_write", at, n, seed)

    def ordered(self, at: int, n: int, seed: int = 1) -> int:
        return self.h.number("disk_ordered", at, n, seed)

    def read(self, at: int, n: int, seed: int = 1) -> tuple[int, int]:
        """(0 or -errno, bytes that are not what write() with this seed wrote)"""
        r, bad = self.h.numbers("disk_read", at, n, seed)
        return r, bad

    def flush(self) -> int:
        return self.h.number("disk_flush")
