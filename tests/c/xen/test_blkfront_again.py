# SPDX-License-Identifier: MIT
"""modules/xen/blkfront_xs.c and a XenStore that cannot answer just when the backend goes and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import Harness
from tests.c.support.xen_harness import CLOSED, CLOSING, CONNECTED
from tests.c.support.xendisk import Disk


@pytest.fixture(scope="session")
def program(blkfront_program: Path) -> Path:
    return blkfront_program


@pytest.fixture
def disk(h: Harness) -> Disk:
    return Disk(h)


@pytest.mark.parametrize(
    "where",
    ["front/state", "front/ring-ref", "front/feature-persistent", "back/online", "back/sectors", "back/info", "back"],
)
def test_a_store_that_cannot_now_is_asked_again(disk: Disk, where: str) -> None:
    """While the backend goes and comes back. One line says so, and whoever waits for a request gets it."""
    disk.up()
    assert disk.write(0, 512, 5) == 0
    side, _, name = where.partition("/")
    folder = disk.back.front if side == "front" else disk.back.back
    disk.h.do("xs_fail", f"{folder}/{name}" if name else folder, 12, 3)
    disk.back.state(CLOSING)
    disk.wait(1)
    assert disk.read(0, 512, 5) == (0, 0)
    disk.wait(3000)
    assert disk.front() == disk.backend() == CONNECTED and disk.h.number("disk_connects") == 2
    assert len(disk.h.log) == 2 and sum("(-12)" in line for line in disk.h.log) == 1, disk.h.log
    disk.h.do("disk_rebind", 0)
    disk.wait(3000)
    assert disk.write(0, 512, 6) == 0 and disk.info().dead == 0


@pytest.mark.parametrize("name", ["state", "ring-ref", "event-channel"])
def test_a_ring_that_cannot_be_offered_now(disk: Disk, name: str) -> None:
    disk.up()
    disk.h.do("disk_gone", 1)
    disk.back.state(CLOSED)
    disk.wait()
    disk.h.do("xs_fail", f"{disk.back.front}/{name}", 12, 3)
    disk.h.do("disk_gone", 0)
    assert disk.write(0, 512) == 0
    assert len(disk.h.log) == 2 and "(-12)" in disk.h.log[1], disk.h.log
    assert disk.h.number("grants") == 1 + 8 * 11 and len(disk.h.do("ports").split()) == 1
