# SPDX-License-Identifier: MIT
"""modules/xen/blkfront.c: the ring, against a backend that is honest, slow, lies or does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.diskcontract import DiskContract
from tests.c.support.harness import EIO, ENOTSUP, Harness
from tests.c.support.xen_harness import CLOSING
from tests.c.support.xendisk import MOST, MS, NOTHING, Disk


@pytest.fixture(scope="session")
def program(blkfront_program: Path) -> Path:
    return blkfront_program


@pytest.fixture
def disk(h: Harness) -> Disk:
    return Disk(h)


class TestContract(DiskContract):
    """diskcontract.py"""


# ---- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [512, 4096, 4608, 40960, 45056])
@pytest.mark.parametrize("at", [0, 512, 45056])
def test_sizes(disk: Disk, at: int, n: int) -> None:
    disk.up()
    assert disk.write(at, n) == 0
    assert disk.log() == f"W{at}+{n}"
    assert disk.h.number("disk_discard", 0, 0) == 0
    assert disk.read(at, n) == (0, 0)


def test_large_transfers_are_several_requests_at_once(disk: Disk) -> None:
    disk.h.do("disk_latency", 1000 * MS)
    disk.up()
    start = disk.h.number("clock")
    assert disk.write(0, 8 * MOST) == 0
    assert disk.log() == " ".join(f"W{i * MOST}+{MOST}" for i in range(8))
    assert disk.h.number("clock") - start < 1100 * MS
    assert disk.read(0, 8 * MOST) == (0, 0)


def test_answers_in_any_order(disk: Disk) -> None:
    disk.h.do("disk_reverse")
    disk.up()
    assert disk.write(0, 1 << 20) == 0
    assert disk.read(0, 1 << 20) == (0, 0)


def test_around_the_ring_and_its_index(disk: Disk) -> None:
    disk.up()
    for i in range(100):
        assert disk.write(i * 512, 512, i) == 0
    for i in range(100):
        assert disk.read(i * 512, 512, i) == (0, 0)


def test_one_notification_for_a_batch(disk: Disk) -> None:
    disk.up()
    before = disk.h.number("disk_kicks")
    assert disk.h.number("disk_submit") == 8
    assert disk.h.number("disk_kicks") == before  # submit alone tells nobody
    disk.h.do("disk_kick")
    disk.h.do("disk_kick")
    assert disk.h.number("disk_kicks") == before + 1


def test_a_backend_that_is_at_work_is_not_notified(disk: Disk) -> None:
    disk.up()
    assert disk.write(0, 512) == 0
    before = disk.h.number("disk_kicks")
    for _ in range(3):  # it has not looked since the first
        assert disk.h.number("disk_submit", 1) == 1
        disk.h.do("disk_kick")
    assert disk.h.number("disk_kicks") == before + 1
    disk.work(1)
    assert disk.h.number("disk_submit", 1) == 1
    disk.h.do("disk_kick")
    assert disk.h.number("disk_kicks") == before + 2


def test_the_source_asks_for_an_event_only_while_something_is_out(disk: Disk) -> None:
    disk.up()
    port = disk.back.get("event-channel")
    ring = disk.back.get("ring-ref")
    assert disk.h.number("evarm") == 0
    assert disk.h.do("grant_read", ring, 12, 4) == "01000000"
    assert disk.write(0, 512) == 0
    assert disk.h.number("evarm") == 0
    disk.h.do("disk_latency", 5 * MS)
    assert disk.h.number("disk_submit") == 8
    disk.h.do("disk_kick")
    assert disk.h.number("evarm") == 0  # nothing yet: but now an event will come
    assert disk.h.do("grant_read", ring, 12, 4) == "02000000"
    disk.work(20)
    assert disk.h.do("port", port).split()[2] == "1"
    assert disk.h.number("evarm") == 1  # there is something to reap
    assert disk.h.do("port", port).split()[2] == "0"  # and the next event wakes again
    assert [disk.h.number("disk_reap") for _ in range(9)] == [1] * 8 + [0]


def test_a_callers_memory_is_never_shared(disk: Disk) -> None:
    """After a read the caller's buffer is its own: what the backend does to its page later is not seen."""
    disk.up()
    assert disk.write(0, 4096, 3) == 0
    assert disk.read(0, 4096, 3) == (0, 0)
    assert disk.h.number("grants") == 1 + 8 * 11


# ---- lies -----------------------------------------------------------------------------------------

FAULTS = [
    ("status_wild", NOTHING),
    ("status_high", NOTHING),
    ("id_wild", NOTHING),
    ("id_free", NOTHING),
    ("id_low", NOTHING),
    ("id_stale", NOTHING),
    ("op_another", NOTHING),
    ("index_jump", "response index jumped (-5)"),
    ("index_back", "response index jumped (-5)"),
    ("silent", "no answer within 30 s (-5)"),
]


@pytest.mark.parametrize(("fault", "why"), FAULTS)
@pytest.mark.parametrize("at", [0, 2])
def test_lies(disk: Disk, fault: str, why: str, at: int) -> None:
    disk.up()
    assert disk.write(0, 4096) == 0
    disk.h.do("disk_fault", fault, at)
    assert disk.read(0, 10 * MOST).result == EIO
    disk.dead(why)


def test_an_answer_twice(disk: Disk) -> None:
    disk.up()
    disk.h.do("disk_fault", "twice", 0)
    assert disk.write(0, 512) in (0, EIO)
    assert disk.write(512, 512) == EIO
    disk.dead("response ")


def test_an_answer_twice_while_others_are_out(disk: Disk) -> None:
    """The second one names a request that is over, and nothing took its place."""
    disk.up()
    disk.h.do("disk_fault", "id_stale", 1)
    assert disk.write(0, 8 * MOST) == EIO
    disk.dead(NOTHING)


def test_an_answer_to_what_still_waits(disk: Disk) -> None:
    """The backend wants to go, so that a new request is not in the ring yet: nothing can be its answer."""
    disk.up()
    ring = disk.back.get("ring-ref")
    disk.h.do("disk_gone", 1)
    assert disk.h.number("disk_submit") == 8
    disk.h.do("disk_kick")
    disk.back.state(CLOSING)
    disk.work(1)
    answer = disk.h.do("grant_read", ring, 64 + 8, 8) + "00" * 8
    for i, taken in enumerate((1, 0)):
        disk.h.do("grant_write", ring, 64 + 112 * i, answer)
        disk.h.do("grant_write", ring, 8, f"{i + 1:02x}000000")
        assert disk.h.number("disk_reap") == taken
        assert disk.h.number("disk_submit") == taken
    assert NOTHING in disk.h.log[1]


@pytest.mark.parametrize(("fault", "error"), [("ioerr", EIO), ("unsupp", ENOTSUP)])
def test_a_failed_request_is_no_dead_disk(disk: Disk, fault: str, error: int) -> None:
    disk.up()
    assert disk.write(0, 4096, 1) == 0
    disk.h.do("disk_fault", fault, 0)
    assert disk.read(0, 4096).result == error
    assert disk.read(0, 4096, 1) == (0, 0)
    assert disk.info().dead == 0 and disk.h.log == []


def test_a_failed_flush_is_reported(disk: Disk) -> None:
    disk.up()
    disk.h.do("disk_fault", "ioerr", 0)
    assert disk.flush() == EIO
    assert disk.flush() == 0
    assert disk.info().volatile_cache == 1


def test_a_disk_that_cannot_flush_after_all(disk: Disk) -> None:
    disk.up()
    disk.h.do("disk_fault", "unsupp", 0)
    assert disk.flush() == 0
    assert disk.info().volatile_cache == 0
    assert disk.h.log == ["xen vbd/51712: the disk has no cache to flush after all (-95)"]


@pytest.mark.parametrize("at", range(3))
def test_a_pause_of_the_vm_is_no_silence(disk: Disk, at: int) -> None:
    disk.h.do("disk_latency", 10_000)  # it comes while the driver looks, not while it sleeps
    disk.up()
    disk.h.do("disk_fault", "paused", at)
    assert disk.write(0, 8 * MOST, 4) == 0
    assert disk.read(0, 8 * MOST, 4) == (0, 0)
    assert disk.h.number("clock") > 40_000 * MS
    assert disk.info().dead == 0


def test_a_dead_disk_gives_its_pages_back_once_they_are_unmapped(disk: Disk) -> None:
    disk.up()
    assert disk.write(0, 4096) == 0
    disk.h.do("disk_fault", "op_another", 0)
    assert disk.write(0, 4096) == EIO
    assert disk.h.number("grants") == 2  # the ring and the one page that was used
    disk.dead(NOTHING)
    assert disk.h.number("grants") == 0


def test_what_stays_mapped_stays_granted(disk: Disk) -> None:
    disk.h.do("disk_keeps", 1)
    disk.up()
    assert disk.write(0, 4096) == 0
    disk.h.do("disk_fault", "op_another", 0)
    assert disk.write(0, 4096) == EIO
    disk.dead(NOTHING)
    assert disk.h.number("grants") == 2


def test_random_lives(h: Harness) -> None:
    assert h.do("fuzz", 7000, 120).splitlines()[-1] == "0"
