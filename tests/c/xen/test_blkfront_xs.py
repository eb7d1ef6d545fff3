# SPDX-License-Identifier: MIT
"""modules/xen/blkfront_xs.c: the handshake with a backend that is honest, absurd, goes away, comes back, or does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import EINVAL, EIO, ENOMEM, ENOSPC, ETIMEDOUT, Harness
from tests.c.support.xen_harness import CLOSED, CLOSING, CONNECTED, INIT_WAIT, INITIALISED, INITIALISING
from tests.c.support.xendisk import MOST, MS, SECTORS, Disk

EROFS, ENOENT = -30, -2


@pytest.fixture(scope="session")
def program(blkfront_program: Path) -> Path:
    return blkfront_program


@pytest.fixture
def disk(h: Harness) -> Disk:
    return Disk(h)


# ---- the handshake --------------------------------------------------------------------------------


def test_no_xen_no_disk(h: Harness) -> None:
    assert h.number("probe") == 0
    h.do("xen", "absent", 1)
    Disk(h)
    h.do("xs_log")
    assert h.number("probe") == 0
    assert h.do("xs_log") == ""


def test_what_it_is_and_what_it_says(disk: Disk) -> None:
    disk.up()
    assert disk.info() == (SECTORS, 512, MOST, 8, 0, 1, 1, 0)
    assert disk.front() == disk.backend() == CONNECTED
    assert disk.back.get("protocol") == "x86_64-abi"
    assert disk.back.get("feature-persistent") == "1"
    assert disk.h.number("grants") == 1 + 8 * 11
    assert disk.h.do("port", disk.back.get("event-channel")).split()[:2] == ["0", "0"]
    assert disk.h.log == []


def test_the_ring_is_offered_before_the_state_says_so(disk: Disk) -> None:
    disk.up()
    lines = disk.h.do("xs_log").splitlines()
    offered = lines.index(f"W device/vbd/51712/state={INITIALISED}")
    joined = lines.index(f"W device/vbd/51712/state={CONNECTED}")
    assert offered < joined
    for name in ("ring-ref", "event-channel", "protocol", "feature-persistent"):
        assert any(line.startswith(f"W device/vbd/51712/{name}=") for line in lines[:offered]), name
    for name in ("sectors", "info", "feature-flush-cache", "mode"):
        assert offered < lines.index(f"R {disk.back.back}/{name}") < joined


@pytest.mark.parametrize(
    ("megabytes", "disks", "depth"), [(256, 1, 8), (32, 1, 8), (32, 2, 5), (16, 1, 5), (8, 1, 2), (1, 1, 1), (16, 8, 1)]
)
def test_bounce_pages_take_a_64th_of_memory(h: Harness, megabytes: int, disks: int, depth: int) -> None:
    h.do("hal", "mem_total", megabytes << 20)
    first = Disk(h)
    for i in range(1, disks):
        Disk(h, 51712 + 16 * i)
    assert h.number("probe") == disks
    assert first.info().depth == depth
    assert h.number("grants") == disks * (1 + 11 * depth)
    assert first.write(0, 300_000) == 0
    assert first.read(0, 300_000) == (0, 0)


def test_few_grants_make_a_shallow_disk(disk: Disk) -> None:
    disk.h.do("xen", "grants_left", 50)
    disk.up()
    assert disk.info().depth == 2
    assert disk.write(0, 300_000) == 0


def test_disks_in_order_of_their_numbers(h: Harness) -> None:
    disks = [Disk(h, number, SECTORS - i) for i, number in enumerate((51728, 51712, 768, 268439552))]
    assert h.number("probe") == 4
    found = []
    for i in range(4):
        disks[0].use(i)
        found.append(SECTORS - disks[0].info().sectors)
    assert found == [2, 1, 0, 3]
    disks[0].use(2)
    assert disks[0].write(0, 512, 7) == 0
    disks[0].use(1)
    assert disks[0].read(0, 512, 7).wrong > 0


def test_a_ninth_disk_is_left_alone(h: Harness) -> None:
    for i in range(9):
        Disk(h, 51712 + 16 * i)
    assert h.number("probe") == ENOSPC
    assert "xen vbd/51840: too many disks (-28)" in h.log
    assert len(h.log) == 1


def test_one_backend_that_is_not_ready_is_only_one(h: Harness) -> None:
    disks = [Disk(h, 51712 + 16 * i, SECTORS - i) for i in range(3)]
    disks[0].back.state(INITIALISING)
    start = h.number("clock")
    assert h.number("probe") == ETIMEDOUT
    assert h.number("clock") - start < 11_000 * MS
    assert h.log == ["xen vbd/51712: the backend is not ready (-110)"]
    assert disks[0].info() == (SECTORS - 1, 512, MOST, 7, 0, 1, 1, 0)


def test_all_disks_connect_at_the_same_time(h: Harness) -> None:
    for i in range(3):
        Disk(h, 51712 + 16 * i)
    h.number("probe")
    states = [line for line in h.do("xs_log").splitlines() if line.startswith("W") and "/state=" in line]
    assert [line[-1] for line in states] == ["3", "3", "3", "4", "4", "4"]


@pytest.mark.parametrize("cdrom", ["by name", "by info"])
def test_a_cdrom_is_left_alone(h: Harness, cdrom: str) -> None:
    drive = Disk(h, 5632)
    Disk(h, 51712, 100)
    if cdrom == "by name":
        h.do("xs_set", f"{drive.back.front}/device-type", "cdrom")
    else:
        drive.back.set(info=1)
    assert h.number("probe") == 1
    assert drive.info().sectors == 100
    assert h.log == ([] if cdrom == "by name" else ["xen vbd/5632: a CD-ROM, left alone (0)"])


@pytest.mark.parametrize(
    ("nodes", "readonly"),
    [({"info": 4}, 1), ({"mode": "r"}, 1), ({"info": 4, "mode": "r"}, 1), ({"info": 2}, 0), ({"mode": "w!"}, 0)],
)
def test_read_only(disk: Disk, nodes: dict[str, object], readonly: int) -> None:
    disk.back.set(**nodes)
    disk.up()
    assert disk.info().readonly == readonly
    assert disk.write(0, 512) == disk.ordered(0, 512) == (EROFS if readonly else 0)
    assert disk.read(0, 512).result == 0


@pytest.mark.parametrize(
    ("flush", "barrier", "word"), [(1, 1, "F"), (1, 0, "F"), (0, 1, "B"), (0, 0, ""), ("", "", "")]
)
def test_flush(disk: Disk, flush: object, barrier: object, word: str) -> None:
    for name, value in (("feature-flush-cache", flush), ("feature-barrier", barrier)):
        if value == "":
            disk.h.do("xs_rm", f"{disk.back.back}/{name}")
        else:
            disk.h.do("xs_set", f"{disk.back.back}/{name}", value)
    disk.up()
    assert disk.info().volatile_cache == (word != "")
    assert disk.write(0, 512) == disk.flush() == 0
    assert disk.log().split() == ["W0+512", *([word] if word else [])]


@pytest.mark.parametrize(
    ("nodes", "can"),
    [
        ({}, 1),
        ({"discard__granularity": 4096, "discard__alignment": 0}, 1),
        ({"discard__granularity": 65536}, 0),
        ({"discard__granularity": 4096, "discard__alignment": 512}, 0),
        ({"feature__discard": 0}, 0),
    ],
)
def test_discard(disk: Disk, nodes: dict[str, object], can: int) -> None:
    disk.back.set(**nodes)
    disk.up()
    assert disk.info().can_discard == can
    assert disk.write(0, 65536) == 0
    disk.log()
    assert disk.h.number("disk_discard", 100, 60000) == 0
    assert disk.log() == ("D512+45056 D45568+14336" if can else "")


@pytest.mark.parametrize(
    ("nodes", "error", "why"),
    [
        ({"sectors": None}, EINVAL, "impossible capacity, or none (-22)"),
        ({"sectors": (1 << 54) + 1}, EINVAL, "impossible capacity, or none (-22)"),
        ({"sectors": "many"}, EINVAL, "sectors (-22)"),
        ({"sectors": "18446744073709551615"}, EINVAL, "sectors (-22)"),
        ({"sectors": "-1"}, EINVAL, "sectors (-22)"),
        ({"sector-size": 256}, EINVAL, "sector size is not 512 to 4096 (-22)"),
        ({"sector-size": 8192}, EINVAL, "sector size is not 512 to 4096 (-22)"),
        ({"sector-size": 1000}, EINVAL, "sector size is not 512 to 4096 (-22)"),
        ({"sector-size": 0}, EINVAL, "sector size is not 512 to 4096 (-22)"),
        ({"sector-size": 4294967808}, EINVAL, "sector size is not 512 to 4096 (-22)"),
        ({"physical-sector-size": 513}, EINVAL, "physical sectors are not whole sectors (-22)"),
        ({"info": "x"}, EINVAL, "info (-22)"),
        ({"feature-flush-cache": ""}, EINVAL, "feature-flush-cache (-22)"),
        ({"discard-granularity": "1 "}, EINVAL, "discard-granularity (-22)"),
    ],
)
def test_absurd_values(disk: Disk, nodes: dict[str, object], error: int, why: str) -> None:
    for name, value in nodes.items():
        path = f"{disk.back.back}/{name}"
        disk.h.do("xs_rm", path) if value is None else disk.h.do("xs_set", path, value)
    result = disk.h.number("probe")
    if why == "discard-granularity (-22)":  # a harness cannot write a trailing blank: it is a good number
        assert result == 1
        return
    assert result == error
    assert disk.h.log == [f"xen vbd/51712: {why}"]
    assert disk.h.do("ports").split() == []
    disk.h.do("disk_gone", 1)


@pytest.mark.parametrize("sector_size", [1024, 4096])
def test_large_sectors_are_counted_in_512(disk: Disk, sector_size: int) -> None:
    disk.back.set(sector__size=sector_size, physical__sector__size=4096, sectors=SECTORS - 1)
    disk.up()
    sectors = (SECTORS - 1) // (sector_size // 512) * (sector_size // 512)
    assert disk.info()[:3] == (sectors, sector_size, MOST)
    assert disk.write(sector_size + 5, 70_000) == 0
    assert disk.read(sector_size + 5, 70_000) == (0, 0)


@pytest.mark.parametrize("missing", ["backend", "backend-id", "state"])
def test_a_device_without_a_backend(disk: Disk, missing: str) -> None:
    disk.h.do("xs_rm", f"{disk.back.back if missing == 'state' else disk.back.front}/{missing}")
    assert disk.h.number("probe") == (ETIMEDOUT if missing == "state" else ENOENT)
    assert len(disk.h.log) == 1


def test_a_backend_that_does_not_connect(disk: Disk) -> None:
    disk.h.do("disk_gone", 1)
    assert disk.h.number("probe") == ETIMEDOUT
    assert disk.h.log == ["xen vbd/51712: the backend does not connect (-110)"]
    assert disk.h.number("grants") == 0
    assert disk.h.do("ports").split() == []


@pytest.mark.parametrize("name", ["ring-ref", "event-channel", "protocol", "feature-persistent", "state"])
def test_xenstore_refuses(disk: Disk, name: str) -> None:
    disk.h.do("xs_fail", f"{disk.back.front}/{name}", 13)
    assert disk.h.number("probe") == -13
    assert any("the ring cannot be offered (-13)" in line for line in disk.h.log)
    assert disk.h.number("grants") == 0


def test_xenstore_is_dead(disk: Disk) -> None:
    disk.h.do("xen", "dead", 1)
    assert disk.h.number("probe") == ETIMEDOUT


@pytest.mark.parametrize("left", range(4))
def test_every_allocation_fails_once(disk: Disk, left: int) -> None:
    disk.h.do("hal", "dma_left", left)
    assert disk.h.number("probe") == (1 if left == 3 else ENOMEM)


@pytest.mark.parametrize(("what", "left"), [("grants_left", 0), ("grants_left", 11), ("ports_left", 0)])
def test_no_grants_or_ports_left(disk: Disk, what: str, left: int) -> None:
    disk.h.do("xen", what, left)
    assert disk.h.number("probe") == ENOSPC
    assert disk.h.log == ["xen vbd/51712: no grants or no event channel left (-28)"]
    assert disk.h.number("grants") == 0


# ---- a backend that goes ---------------------------------------------------------------------------


def test_a_backend_that_closes_and_comes_back(disk: Disk) -> None:
    disk.up()
    assert disk.write(0, 100_000, 5) == 0
    disk.back.state(CLOSING)
    disk.wait()
    assert disk.front() == disk.backend() == CONNECTED
    assert disk.h.number("disk_connects") == 2
    assert disk.read(0, 100_000, 5) == (0, 0)
    assert disk.write(0, 100_000, 6) == 0
    assert disk.read(0, 100_000, 6) == (0, 0)
    assert disk.h.number("grants") == 1 + 8 * 11
    assert disk.h.log == ["xen vbd/51712: the backend went away, requests wait for another (-11)"]


@pytest.mark.parametrize("state", [CLOSED, INIT_WAIT, INITIALISING])
def test_requests_in_flight_are_issued_again(disk: Disk, state: int) -> None:
    disk.up()
    assert disk.write(0, 3 * MOST, 5) == 0
    disk.log()
    disk.h.do("disk_latency", 3_000 * MS)
    assert disk.h.number("disk_submit") == 8
    disk.h.do("disk_kick")
    disk.work(5)
    disk.h.do("disk_gone", 1)  # killed, with eight requests in its hands
    disk.work(5)
    disk.back.state(state)
    disk.work(1000)
    assert disk.h.number("disk_reap") == 0
    disk.h.do("disk_latency", 0)
    disk.h.do("disk_gone", 0)
    if state == INITIALISING:
        disk.back.state(INIT_WAIT)
    disk.work(100 if state == CLOSED else 2500)  # else it has 2 s to take the ring over
    assert disk.log() == " ".join(["R0+512"] * 8)
    assert [disk.h.number("disk_reap") for _ in range(9)] == [1] * 8 + [0]
    assert disk.read(0, 3 * MOST, 5) == (0, 0)


@pytest.mark.parametrize(
    ("pause", "state"), [(0, INIT_WAIT), (100, INIT_WAIT), (1900, INIT_WAIT), (100, INITIALISING), (100, INITIALISED)]
)
def test_a_backend_that_takes_the_ring_over(disk: Disk, pause: int, state: int) -> None:
    """What Linux' blkback does when its driver is unbound and bound again: requests that nobody has seen are served."""
    disk.up()
    assert disk.write(0, 3 * MOST, 5) == 0
    disk.log()
    disk.h.do("disk_gone", 1)
    if pause:
        disk.back.state(state)
        disk.work(pause)
    assert disk.h.number("disk_submit") == 8
    disk.h.do("disk_kick")
    disk.work(10)
    disk.h.do("disk_gone", 0)
    disk.h.do("disk_rebind", 1)  # deaf: it has lost what it was notified of
    disk.work(50)
    assert disk.log() == " ".join(["R0+512"] * 8)
    assert [disk.h.number("disk_reap") for _ in range(9)] == [1] * 8 + [0]
    assert disk.read(0, 3 * MOST, 5) == (0, 0)
    assert disk.write(0, 3 * MOST, 6) == 0
    disk.wait(5000)
    assert disk.h.log == []
    assert disk.front() == disk.backend() == CONNECTED


def test_another_disk_takes_the_ring_over(disk: Disk) -> None:
    disk.up()
    disk.h.do("disk_gone", 1)
    disk.back.state(INIT_WAIT)
    disk.work(10)
    disk.back.set(sectors=1000)
    disk.h.do("disk_gone", 0)
    disk.h.do("disk_rebind", 0)
    disk.work(10)
    assert disk.info().dead == 1
    assert disk.h.log == ["xen vbd/51712: another disk came back (-5)"]


def test_a_backend_that_fails_while_it_comes_back(disk: Disk) -> None:
    disk.up()
    disk.h.do("disk_gone", 1)
    disk.back.state(CLOSED)
    disk.work(10)
    assert disk.front() == INITIALISING
    disk.back.state(CLOSING)
    disk.work(10)
    assert disk.front() == CLOSED
    disk.h.do("disk_gone", 0)
    disk.work(10)
    assert disk.front() == disk.backend() == CONNECTED
    assert disk.write(0, 512) == 0


@pytest.mark.parametrize(("flush", "barrier", "word"), [(1, 0, "F"), (0, 1, "B")])
def test_a_flush_is_issued_again_as_the_new_backend_knows_it(disk: Disk, flush: int, barrier: int, word: str) -> None:
    disk.up()
    disk.h.do("disk_gone", 1)
    assert disk.h.number("disk_submit", 1, 2) == 1
    disk.h.do("disk_kick")
    disk.back.set(feature__flush__cache=flush, feature__barrier=barrier)
    disk.back.state(CLOSED)
    disk.work(10)
    disk.h.do("disk_gone", 0)
    disk.work(10)
    assert disk.log() == word
    assert disk.h.number("disk_reap") == 1


def test_a_backend_that_comes_and_goes_costs_one_line(disk: Disk) -> None:
    disk.up()
    for _ in range(5):
        disk.back.state(CLOSING)
        disk.wait()
    assert disk.h.number("disk_connects") == 6
    assert len(disk.h.log) == 1
    assert disk.write(0, 512) == 0
    disk.back.state(CLOSING)
    disk.wait()
    assert len(disk.h.log) == 2


def test_a_closing_backend_has_two_seconds_for_what_it_has(disk: Disk) -> None:
    disk.up()
    disk.h.do("disk_gone", 1)
    assert disk.h.number("disk_submit") == 8
    disk.h.do("disk_kick")
    disk.back.state(CLOSING)
    disk.work(1900)
    assert disk.front() == CONNECTED
    assert disk.h.number("evleft") <= 101 * MS  # the main loop does not sleep beyond it
    disk.work(200)
    assert disk.front() == CLOSED


def test_a_backend_that_stays_away(disk: Disk) -> None:
    disk.up()
    disk.h.do("disk_gone", 1)
    disk.back.state(CLOSED)
    start = disk.h.number("clock")
    assert disk.write(0, 512) == EIO
    assert 30_000 * MS <= disk.h.number("clock") - start < 31_000 * MS
    assert [line.split(": ")[1] for line in disk.h.log] == [
        "the backend went away, requests wait for another (-11)",
        "no answer within 30 s (-5)",
    ]
    assert disk.info().dead == 1


def test_a_disk_that_is_taken_away(disk: Disk) -> None:
    """What `xl block-detach` does."""
    disk.up()
    disk.back.set(online=0)
    disk.back.state(CLOSING)
    disk.wait()
    disk.dead("the disk was taken away (-19)")
    assert disk.h.number("grants") == 0


def test_a_backend_whose_folder_is_gone(disk: Disk) -> None:
    disk.up()
    disk.h.do("disk_gone", 1)
    disk.h.do("xs_rm", disk.back.back)
    disk.wait()
    assert disk.info().dead == 1
    assert disk.h.log == ["xen vbd/51712: the disk was taken away (-19)"]


@pytest.mark.parametrize("change", [{"sectors": 1024}, {"sector__size": 1024}, {"info": 4}, {"mode": "r"}, {"info": 1}])
def test_another_disk_came_back(disk: Disk, change: dict[str, object]) -> None:
    disk.up()
    disk.back.set(**change)
    disk.back.state(CLOSING)
    disk.wait()
    assert disk.info().dead == 1
    assert disk.h.log[1:] == ["xen vbd/51712: another disk came back (-5)"]


def test_a_backend_that_keeps_our_memory(disk: Disk) -> None:
    disk.up()
    assert disk.write(0, 4096) == 0
    disk.h.do("disk_keeps", 1)
    disk.back.state(CLOSING)
    disk.wait(4000)
    assert disk.info().dead == 0  # it has 5 s
    assert disk.h.number("disk_connects") == 1
    disk.wait(2000)
    assert disk.info().dead == 1
    assert disk.h.log[1:] == ["xen vbd/51712: the backend keeps our memory (-5)"]
    assert disk.h.number("grants") == 2


def test_no_grants_for_the_backend_that_came_back(disk: Disk) -> None:
    disk.up()
    disk.h.do("xen", "ports_left", 0)
    disk.back.state(CLOSING)
    disk.wait()
    assert disk.info().dead == 1
    assert "no grants or no event channel left (-28)" in disk.h.log[1]


def test_all_over_again_and_again(disk: Disk) -> None:
    disk.up()
    for i in range(20):
        disk.back.state((CLOSING, CLOSED)[i % 2])
        if i % 2:
            disk.h.do("disk_gone", 1)
            disk.h.do("disk_gone", 0)
        assert disk.write(0, 50_000, i) == 0
        assert disk.read(0, 50_000, i) == (0, 0)
        disk.wait()
    assert disk.h.number("disk_connects") == 21
    assert disk.h.number("grants") == 1 + 8 * 11
