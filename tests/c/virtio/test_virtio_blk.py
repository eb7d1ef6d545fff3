# SPDX-License-Identifier: MIT
"""modules/virtio/virtio_blk.c and modules/blkdev against a disk that is honest, lacks things, lies or does not answer."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.c.support.diskcontract import DiskContract
from tests.c.support.diskuser import DiskUser
from tests.c.support.harness import (
    BLOCK,
    EINVAL,
    EIO,
    ENODEV,
    ENOMEM,
    ENOTSUP,
    EVENT_IDX,
    VERSION_1,
    Device,
    Died,
    Harness,
)

SIZE_MAX, RO, BLK_SIZE, FLUSH, DISCARD = 1 << 1, 1 << 5, 1 << 6, 1 << 9, 1 << 13
EROFS = -30
SECTORS = 2048


class Disk(DiskUser):
    """A disk of 1 MiB and what its driver's user does with it."""

    def __init__(self, h: Harness, dev: Device) -> None:
        super().__init__(h)
        self.dev = dev
        dev.set(features=VERSION_1 | FLUSH | DISCARD)
        h.do("disk", dev.index, SECTORS)
        self.configure(max_discard=1 << 20)

    def configure(self, *, size_max: int = 0, blk_size: int = 512, max_discard: int = 0) -> None:
        self.dev.config(8, struct.pack("<I", size_max))
        self.dev.config(20, struct.pack("<I", blk_size))
        self.dev.config(36, struct.pack("<I", max_discard))

    def up(self) -> Disk:
        assert self.h.number("probe", "virtio-blk") == 1
        return self

    def dead(self, why: str) -> None:
        assert self.info().dead == 1
        assert self.dev.get("status") == 0  # reset: it owns nothing any more
        assert any(why in line for line in self.h.log), self.h.log
        assert len(self.h.log) == 1
        assert self.write(0, 512) == self.read(0, 512).result == self.flush() == EIO


@pytest.fixture
def disk(h: Harness, device: Callable[[int], Device]) -> Disk:
    return Disk(h, device(BLOCK))


class TestContract(DiskContract):
    """diskcontract.py"""


def test_no_disk(h: Harness) -> None:
    assert h.number("probe", "virtio-blk") == 0


def test_what_it_is(disk: Disk) -> None:
    assert disk.up().info() == (SECTORS, 512, 256 << 10, 16, 0, 1, 1, 0)


@pytest.mark.parametrize(("op", "length"), [(4, 512), (255, 0), (0, (256 << 10) + 512), (1, 1 << 20)])
def test_a_request_that_no_disk_takes_is_our_bug(disk: Disk, op: int, length: int) -> None:
    disk.up()
    with pytest.raises(Died) as died:
        disk.h.do("disk_submit", op, length)
    assert died.value.status == 120 and "PANIC assertion failed" in died.value.report


def test_a_partly_written_sector_is_read_first(disk: Disk) -> None:
    disk.up()
    assert disk.write(0, 4096, 1) == 0
    disk.log()
    assert disk.write(1000, 600, 2) == 0
    assert disk.log() == "R512+512 W512+512 W1024+512 R1536+512 W1536+512"
    assert disk.read(0, 1000, 1) == (0, 0)
    assert disk.read(1000, 600, 2) == (0, 0)
    assert disk.read(1600, 2496, 1) == (0, 0)


def test_large_transfers_are_several_requests_at_once(disk: Disk) -> None:
    disk.up()
    assert disk.write(0, 1 << 20) == 0
    assert disk.log() == " ".join(f"W{i << 18}+262144" for i in range(4))
    assert disk.read(0, 1 << 20) == (0, 0)


def test_answers_in_any_order(disk: Disk) -> None:
    disk.h.do("disk_reverse")
    disk.configure(size_max=4096)
    disk.dev.set(features=VERSION_1 | SIZE_MAX | EVENT_IDX)
    disk.up()
    assert disk.info().max_bytes == 4096
    assert disk.write(0, 300_000) == 0
    assert disk.read(0, 300_000) == (0, 0)


def test_what_was_read_is_kept_and_what_is_written_is_seen(disk: Disk) -> None:
    disk.up()
    assert disk.read(4096, 100, 0).result == 0
    assert disk.log() == "R4096+4096"
    assert disk.read(5000, 100, 0).result == 0
    assert disk.log() == ""
    assert disk.write(5000, 10, 3) == 0
    disk.log()
    assert disk.read(5000, 10, 3) == (0, 0)
    assert disk.log() == ""
    assert disk.h.number("disk_discard", 4096, 4096) == 0
    assert disk.log() == "D4096+4096"
    disk.read(5000, 10, 3)
    assert disk.log() == "R4096+4096"


def test_the_last_write_before_a_flush_reaches_the_medium_last(disk: Disk) -> None:
    disk.up()
    for at in (8192, 12288, 0):
        assert disk.ordered(at, 512) == 0
        assert disk.read(at, 512) == (0, 0)  # also while it is held back
    assert "W0+512" not in disk.log()
    assert disk.flush() == 0
    assert [word for word in disk.log().split() if not word.startswith("R")] == ["F", "W0+512", "F"]
    assert disk.ordered(512, 512) == 0
    assert disk.flush() == 0
    assert disk.log() == "W512+512 F"  # nothing else was written: one flush is enough


def test_a_plain_write_does_not_overtake_a_held_one(disk: Disk) -> None:
    disk.up()
    assert disk.ordered(0, 1024, 1) == 0
    assert disk.write(512, 512, 2) == 0
    assert disk.log() == "W0+1024 W512+512"
    assert disk.read(0, 512, 1) == (0, 0) and disk.read(512, 512, 2) == (0, 0)


def test_ordered_writes_too_large_to_hold(disk: Disk) -> None:
    disk.up()
    assert disk.ordered(0, 512) == 0
    assert disk.ordered(65536, 32768) == 0
    assert disk.log() == "W0+512 F W65536+32768"


def test_without_a_cache_to_flush_every_write_is_on_the_medium(disk: Disk) -> None:
    disk.dev.set(features=VERSION_1)
    disk.up()
    assert disk.info().volatile_cache == disk.info().can_discard == 0
    assert disk.ordered(0, 512) == 0
    assert disk.flush() == 0
    assert disk.log() == "W0+512"
    assert disk.h.number("disk_discard", 0, 4096) == 0
    assert disk.log() == ""


def test_read_only(disk: Disk) -> None:
    disk.dev.set(features=VERSION_1 | FLUSH | RO)
    disk.up()
    assert disk.info().readonly == 1
    assert disk.write(0, 512) == disk.ordered(0, 512) == disk.h.number("disk_discard", 0, 512) == EROFS
    assert disk.read(0, 512).result == 0
    assert disk.log() == "R0+4096"


@pytest.mark.parametrize("blk_size", [1024, 4096])
def test_large_sectors(disk: Disk, blk_size: int) -> None:
    disk.configure(blk_size=blk_size, size_max=10_000)
    disk.dev.set(features=VERSION_1 | BLK_SIZE | SIZE_MAX)
    disk.h.do("disk", disk.dev.index, SECTORS - 1)
    disk.up()
    sectors, size, most = disk.info()[:3]
    assert (sectors, size) == ((SECTORS - 1) // (blk_size // 512) * (blk_size // 512), blk_size)
    assert most == 10_000 // blk_size * blk_size
    assert disk.write(blk_size + 5, 3 * blk_size) == 0
    assert disk.read(blk_size + 5, 3 * blk_size) == (0, 0)
    for word in disk.log().split():
        at, n = map(int, word[1:].split("+"))
        assert at % blk_size == n % blk_size == 0, word


FAULTS = [
    ("status_unset", "request ended without a status"),
    ("status_wild", "request ended without a status"),
    ("short_read", "request ended without a status"),
    ("length_zero", "request ended without a status"),
    ("length_long", "used length beyond the buffer"),
    ("id_wild", "used id beyond the queue"),
    ("id_free", "used id not outstanding"),
    ("index_jump", "used index jumped"),
    ("needs_reset", "device needs a reset"),
    ("silent", "no answer within 30 s"),
]


@pytest.mark.parametrize(("fault", "why"), FAULTS)
@pytest.mark.parametrize("at", [0, 2])
def test_lies(disk: Disk, fault: str, why: str, at: int) -> None:
    disk.configure(size_max=4096)
    disk.dev.set(features=VERSION_1 | FLUSH | SIZE_MAX)
    disk.up()
    disk.h.do("disk_fault", fault, at)
    assert disk.read(0, 65536).result == EIO
    disk.dead(why)


def test_an_answer_twice(disk: Disk) -> None:
    disk.up()
    disk.h.do("disk_fault", "twice", 0)
    assert disk.write(0, 512) in (0, EIO)
    assert disk.write(512, 512) == EIO
    disk.dead("used ")


@pytest.mark.parametrize(("fault", "error"), [("ioerr", EIO), ("unsupp", ENOTSUP)])
def test_a_failed_request_is_no_dead_disk(disk: Disk, fault: str, error: int) -> None:
    disk.up()
    assert disk.write(0, 4096, 1) == 0
    disk.h.do("disk_fault", fault, 0)
    assert disk.read(0, 4096).result == error
    assert disk.read(0, 4096, 1) == (0, 0)
    disk.h.do("disk_fault", fault, 0)
    assert disk.flush() == error
    assert disk.info().dead == 0 and disk.h.log == []


def test_a_failed_write_is_not_kept_as_read(disk: Disk) -> None:
    disk.up()
    assert disk.read(0, 100, 0).result == 0
    disk.h.do("disk_fault", "ioerr", 0)
    assert disk.write(0, 512, 5) == EIO
    disk.log()
    disk.read(0, 100, 0)
    assert disk.log() == "R0+4096"


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"blk_size": 256}, EINVAL, "sector size is not 512 to 4096"),
        ({"blk_size": 8192}, EINVAL, "sector size is not 512 to 4096"),
        ({"blk_size": 1000}, EINVAL, "sector size is not 512 to 4096"),
        ({"blk_size": 0}, EINVAL, "sector size is not 512 to 4096"),
        ({"size_max": 511}, EINVAL, "requests smaller than a sector"),
        ({"size_max": 0}, EINVAL, "requests smaller than a sector"),
    ],
)
def test_absurd_configuration(disk: Disk, change: dict[str, int], error: int, reason: str) -> None:
    disk.configure(**{"size_max": 65536, **change})
    disk.dev.set(features=VERSION_1 | BLK_SIZE | SIZE_MAX)
    assert disk.h.number("probe", "virtio-blk") == error
    assert reason in disk.h.log[0] and disk.dev.get("status") == 0


def test_absurd_capacity(disk: Disk) -> None:
    disk.h.do("disk", disk.dev.index, 1 << 60)
    assert disk.h.number("probe", "virtio-blk") == EINVAL
    assert "impossible capacity" in disk.h.log[0]


@pytest.mark.parametrize(
    ("most", "error", "reason"),
    [(0, ENODEV, "queue missing"), (100, EINVAL, "no power of two"), (2, EINVAL, "too short for a request")],
)
def test_absurd_queues(disk: Disk, most: int, error: int, reason: str) -> None:
    disk.dev.set(queue0__max=most)
    assert disk.h.number("probe", "virtio-blk") == error
    assert reason in disk.h.log[0] and disk.dev.get("status") == 0


def test_a_short_queue_works(disk: Disk) -> None:
    disk.dev.set(queue0__max=4)
    disk.up()
    assert disk.info().depth == 1
    assert disk.write(0, 1 << 20) == 0
    assert disk.read(0, 1 << 20) == (0, 0)


@pytest.mark.parametrize("left", range(5))
def test_every_allocation_fails_once(disk: Disk, left: int) -> None:
    disk.h.do("hal", "dma_left", left)
    result = disk.h.number("probe", "virtio-blk")
    assert result == (1 if left == 4 else ENOMEM)


def test_random_lives(h: Harness) -> None:
    assert h.do("fuzz", "disk", 9000, 400).splitlines()[-1] == "0"
