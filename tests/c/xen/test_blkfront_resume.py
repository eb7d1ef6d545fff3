# SPDX-License-Identifier: MIT
"""blkfront in another domain: what is in flight is answered before, or asked of the new backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import EAGAIN, EIO, ETIMEDOUT, Harness
from tests.c.support.xen_harness import CLOSED, CONNECTED, INIT_WAIT, INITIALISING
from tests.c.support.xendisk import MS, NOTHING, Disk

WRITE = 1


@pytest.fixture(scope="session")
def program(blkfront_program: Path) -> Path:
    return blkfront_program


@pytest.fixture
def disk(h: Harness) -> Disk:
    return Disk(h).up()


def resume(disk: Disk, *, ready: bool = True) -> None:
    """The VM wakes up where the same disk has another backend."""
    disk.h.do("disk_gone", 1)
    disk.h.do("xs_set", f"{disk.back.front}/state", INITIALISING)
    disk.back.state(INIT_WAIT if ready else INITIALISING)
    disk.h.do("resumed")
    disk.h.do("disk_gone", 0)


def works(disk: Disk, connects: int, lines: tuple[int, ...] = (0,)) -> None:
    assert disk.write(0, 512, 7) == 0 and disk.read(0, 512, 7) == (0, 0)
    assert disk.front() == disk.backend() == CONNECTED and disk.h.number("disk_connects") == connects
    assert disk.h.number("grants") == 1 + 8 * 11 and len(disk.h.do("ports").split()) == 1
    assert len(disk.h.log) in lines and disk.info().dead == 0, disk.h.log


def test_requests_in_flight_are_answered_before(disk: Disk) -> None:
    disk.h.do("disk_latency", 1000 * MS)
    disk.h.do("disk_submit", 8, WRITE)
    disk.h.do("disk_kick")
    start = disk.h.number("clock")
    disk.h.do("suspending")
    assert 1000 * MS <= disk.h.number("clock") - start < 1100 * MS
    assert disk.log().count("W") == 8
    assert [disk.h.number("disk_reap") for _ in range(9)] == [1] * 8 + [0]


def test_nothing_in_flight_takes_no_time(disk: Disk) -> None:
    assert disk.write(0, 512) == 0
    disk.h.do("disk_submit", 3)  # the backend has not been told
    start = disk.h.number("clock")
    disk.h.do("suspending")
    assert disk.h.number("clock") - start < 1 * MS


@pytest.mark.parametrize("waited", [False, True])
def test_requests_in_flight_are_asked_again(disk: Disk, waited: bool) -> None:
    """Of a backend that did not answer in time, or, not waited, was not even told; all of them once."""
    disk.h.do("disk_latency", 100_000 * MS)
    disk.h.do("disk_submit", 8, WRITE)
    if waited:
        disk.h.do("disk_kick")
        start = disk.h.number("clock")
        disk.h.do("suspending")
        assert 5000 * MS <= disk.h.number("clock") - start < 5100 * MS
    disk.h.do("disk_latency", 0)
    resume(disk)
    disk.work(500)
    assert [disk.h.number("disk_reap") for _ in range(9)] == [1] * 8 + [0]
    assert disk.log().count("W") == 8
    works(disk, 2)


def test_a_backend_that_is_not_ready_yet(disk: Disk) -> None:
    resume(disk, ready=False)
    disk.wait(3000)
    assert disk.h.number("disk_connects") == 1
    disk.back.state(INIT_WAIT)
    works(disk, 2)


def test_again_and_again(disk: Disk) -> None:
    for n in range(2, 6):
        resume(disk)
        works(disk, n)


def test_pages_that_the_old_backend_held_are_free(disk: Disk) -> None:
    assert disk.write(0, 512) == 0
    disk.h.do("disk_keeps", 1)
    disk.back.state(6)
    disk.wait(100)
    disk.h.do("disk_keeps", 0)
    disk.h.log.clear()
    resume(disk)
    works(disk, 2)


def test_a_disk_that_does_not_come_along_is_dead(disk: Disk) -> None:
    disk.h.do("disk_submit", 1)
    disk.h.do("disk_gone", 1)
    disk.h.do("xs_rm", disk.back.front)
    disk.h.do("resumed")
    assert disk.info().dead == 1 and disk.h.do("ports").split() == [] and disk.h.number("grants") == 0
    assert [line.partition(":")[2] for line in disk.h.log] == [
        " no backend is named (-2)",
        " the disk is not here (-19)",
    ]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("err", [EAGAIN, EIO, ETIMEDOUT])
@pytest.mark.parametrize("where", ["front/backend", "front/backend-id", "back/state", "front", "back"])
def test_a_store_that_cannot_tell_yet_is_asked_again(disk: Disk, where: str, err: int, count: int) -> None:
    """One line says what failed first, and another one where the state can be neither read nor watched; none what does
    not matter (the end of the old watch, the type). What was in flight is done once the backend is found."""
    side, _, name = where.partition("/")
    path = f"{disk.back.front if side == 'front' else disk.back.back}/{name}".rstrip("/")
    disk.h.do("disk_submit", 3, WRITE)
    disk.h.do("xs_fail", path, -err, count)
    resume(disk)
    disk.work(20_000)
    assert [disk.h.number("disk_reap") for _ in range(4)] == [1] * 3 + [0]
    works(disk, 2, lines=(0, 1) if count == 1 else (1, 2))
    assert all(f"({err})" in line for line in disk.h.log)


def test_a_store_that_stays_silent_is_asked_ever_more_rarely(disk: Disk) -> None:
    disk.h.do("xs_fail", f"{disk.back.front}/backend", 110)
    resume(disk)
    disk.h.do("xs_log")
    disk.wait(60_000)
    assert disk.h.do("xs_log").count("R device/vbd/51712/backend") in range(8, 11)
    assert len(disk.h.log) == 1 and disk.info().dead == 0


def test_a_disk_that_is_seen_not_to_be_here_later(disk: Disk) -> None:
    disk.h.do("xs_fail", f"{disk.back.front}/backend", 11, 2)
    disk.h.do("disk_gone", 1)
    disk.h.do("xs_rm", disk.back.front)
    disk.h.do("resumed")
    assert disk.info().dead == 0
    disk.wait(1000)
    assert disk.info().dead == 1 and disk.h.do("ports").split() == [] and disk.h.number("grants") == 0
    assert [line.partition(":")[2] for line in disk.h.log] == [
        " no backend is named (-11)",
        " the disk is not here (-19)",
    ]


def test_moved_on_before_the_store_could_tell(disk: Disk) -> None:
    """Saved and restored once more meanwhile: what failed in the domain between is no matter."""
    disk.h.do("xs_fail", f"{disk.back.front}/backend", 11, 3)
    resume(disk)
    resume(disk)
    disk.work(5000)
    works(disk, 2, lines=(2,))


def test_another_disk_is_not_taken(disk: Disk) -> None:
    disk.back.set(sectors=1024)
    resume(disk)
    disk.wait(500)
    assert disk.info().dead == 1 and "another disk came back" in disk.h.log[0]


@pytest.mark.parametrize(("fault", "why"), [("id_stale", NOTHING), ("index_jump", "response index jumped (-5)")])
def test_a_new_backend_that_lies(disk: Disk, fault: str, why: str) -> None:
    """As with the first: the disk is dead; also where the VM goes on from there."""
    assert disk.write(0, 512) == 0
    resume(disk)
    disk.wait(100)
    disk.h.do("disk_fault", fault, 0)
    assert disk.write(0, 512) != 0
    disk.wait(100)
    assert why in disk.h.log[0]
    resume(disk)
    disk.wait(500)
    assert disk.info().dead == 1 and len(disk.h.log) == 1, disk.h.log
    assert disk.h.do("ports").split() == [] and disk.h.number("grants") == 0
    disk.back.state(CLOSED)
    disk.wait(500)
    assert disk.front() == INITIALISING  # a dead disk has no say in the domain that it has come to
