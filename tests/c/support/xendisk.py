# SPDX-License-Identifier: MIT
"""The other end of xen_blk.c: a backend with a disk, and who uses that disk through blkfront.c."""

from __future__ import annotations

from pathlib import Path

from tests.c.support.diskuser import DiskUser
from tests.c.support.harness import EIO, Harness
from tests.c.support.xen_harness import CLOSED, Backend, build

SECTORS = 2048
MOST = 11 * 4096
MS = 1_000_000
NOTHING = "response to nothing that was asked (-5)"


def build_blkfront(out: Path) -> Path:
    """Compile blkfront.c, the handshake and blkdev over the fake Xen; return the program."""
    return build(
        out,
        "xen_blk.c",
        *(f"modules/xen/{name}.c" for name in ("blkfront", "blkfront_xs", "xenbus", "xenring")),
        *(f"modules/blkdev/{name}.c" for name in ("blkdev", "blkcache", "blkorder")),
        "tests/c/support/disk_user.c",
    )


class Disk(DiskUser):
    """A backend with a disk of 1 MiB, and what its driver's user does with it."""

    def __init__(self, h: Harness, number: int = 51712, sectors: int = SECTORS) -> None:
        super().__init__(h)
        self.back = Backend(h, "vbd", number)
        self.back.set(sectors=sectors, sector__size=512, info=0, mode="w", online=1)
        self.back.set(feature__flush__cache=1, feature__barrier=1, feature__discard=1, feature__persistent=1)
        h.do("vbd", number, sectors)

    def up(self) -> Disk:
        assert self.h.number("probe") == 1
        return self

    def front(self) -> int:
        return int(self.back.get("state"))

    def backend(self) -> int:
        return int(self.h.do("xs_get", f"{self.back.back}/state"))

    def wait(self, ms: int = 100) -> None:
        self.h.do("wait", ms * MS)

    def work(self, ms: int) -> None:
        self.h.do("disk_work", ms * MS)

    def dead(self, why: str) -> None:
        assert self.info().dead == 1
        assert len(self.h.log) == 1, self.h.log
        assert why in self.h.log[0]
        assert self.h.do("ports").split() == []
        assert self.write(0, 512) == self.read(0, 512).result == self.flush() == EIO
        self.wait()
        assert self.front() == CLOSED
        assert len(self.h.log) == 1, self.h.log
