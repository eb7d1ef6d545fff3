# SPDX-License-Identifier: MIT
"""port/hal/clock.c: dates against Python's calendar, every mode of the CMOS clock, rates from CPUID and pvclock."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

BINARY, HOURS_24 = 4, 2
STATUS_A, STATUS_B = 0x0A, 0x0B
REGISTERS = (0, 2, 4, 7, 8, 9)  # second, minute, hour, day, month, year
EPOCH = dt.date(1970, 1, 1)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("clock"), "clock")


@pytest.fixture(scope="module")
def shared(program: Path) -> Iterator[Harness]:
    with Harness(program) as harness:
        yield harness


class Reading(NamedTuple):
    """The clock between two readings of the cycle counter, in ns but for `before` and `after`; wall: since 1970."""

    before: int
    ns: int
    after: int
    wall: int


def read(h: Harness) -> Reading:
    return Reading(*h.numbers("read"))


def set_cmos(h: Harness, when: dt.datetime, status_b: int) -> None:
    def coded(n: int) -> int:
        return n if status_b & BINARY else n // 10 << 4 | n % 10

    hour = coded(when.hour)
    if not status_b & HOURS_24:
        hour = coded(when.hour % 12 or 12) | (0x80 if when.hour >= 12 else 0)
    fields = (coded(when.second), coded(when.minute), hour, coded(when.day), coded(when.month), coded(when.year % 100))
    pairs = [*zip(REGISTERS, fields, strict=True), (STATUS_A, 0x26), (STATUS_B, status_b)]
    h.do("cmos", *(n for pair in pairs for n in pair))


def seconds(when: dt.datetime) -> int:
    return calendar.timegm(when.timetuple())


def test_every_month_of_a_century(shared: Harness) -> None:
    for year in range(2000, 2100):
        for month in range(1, 13):
            for day in (1, 28, calendar.monthrange(year, month)[1]):
                assert shared.number("days", year, month, day) == (dt.date(year, month, day) - EPOCH).days


@pytest.mark.parametrize("when", ["1970-01-01", "1999-12-31", "2000-02-29", "2100-02-28", "2100-03-01", "2400-02-29"])
def test_days_of_note(shared: Harness, when: str) -> None:
    day = dt.date.fromisoformat(when)
    assert shared.number("days", day.year, day.month, day.day) == (day - EPOCH).days


@pytest.mark.parametrize("status_b", [0, BINARY, HOURS_24, BINARY | HOURS_24])
@pytest.mark.parametrize("hour", range(24))
def test_every_hour_in_every_mode(shared: Harness, status_b: int, hour: int) -> None:
    when = dt.datetime(2026, 11, 21, hour, 59, 7)
    set_cmos(shared, when, status_b)
    assert shared.number("cmos_time") == seconds(when)


@given(st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2099, 12, 31, 23, 59, 59)), st.sampled_from([0, 2, 4, 6]))
@settings(deadline=None)
def test_cmos(shared: Harness, when: dt.datetime, status_b: int) -> None:
    set_cmos(shared, when, status_b)
    assert shared.number("cmos_time") == seconds(when)


def test_no_cmos_clock_means_no_date(h: Harness) -> None:
    h.do("cmos", STATUS_A, 0xFF)
    assert h.number("cmos_time") == 0
    h.do("init")
    assert read(h).wall == 0


def test_rate_and_date_without_kvm(h: Harness) -> None:
    """CPUID says 1 GHz: a cycle is a nanosecond."""
    when = dt.datetime(2031, 5, 6, 7, 8, 9)
    set_cmos(h, when, HOURS_24)
    h.do("init")
    assert h.do("source") == "cpuid"
    before, ns, after, wall = read(h)
    assert before <= ns + 1 and ns <= after
    assert seconds(when) * 10**9 <= wall < (seconds(when) + 1) * 10**9


@pytest.mark.parametrize(
    ("mul", "shift", "ns_per_cycle"), [(1 << 31, 1, 1.0), (1 << 31, 0, 0.5), (1 << 31, -1, 0.25), (3 << 30, 0, 0.75)]
)
def test_kvmclock(h: Harness, mul: int, shift: int, ns_per_cycle: float) -> None:
    h.do("kvm", mul, shift, 1_800_000_000, 250_000_000)
    h.do("init")
    assert h.do("source") == "kvmclock"
    before, ns, after, wall = read(h)
    assert before * ns_per_cycle - 1 <= ns <= after * ns_per_cycle + 1
    assert 0 <= wall - 1_800_000_000_250_000_000 < 10**9


@pytest.mark.parametrize("offset", [0, -1_000_000])
def test_a_machine_that_was_stopped(h: Harness, offset: int) -> None:
    """It goes on after 5000 s of the host's, where a cycle takes half as long: the wall clock has gone on by those, from
    whatever it was set to; the other one has not, and counts cycles of the new kind."""
    h.do("kvm", 1 << 31, 1, 1_800_000_000, 0)
    h.do("init")
    h.do("set", (1_800_000_000 + offset) * 10**9)
    before = read(h)
    h.do("stop")
    h.do("go", 1 << 31, 0, 1_800_005_000)
    after = read(h)
    assert before.ns < after.ns < before.ns + 1000 * 10**9
    assert abs(after.wall - (1_800_005_000 + offset) * 10**9) < 1000 * 10**9
    later = read(h)
    assert (later.before - after.after) / 2 - 2 <= later.ns - after.ns <= (later.after - after.before) / 2 + 2


def test_a_machine_without_a_date_has_none_later(h: Harness) -> None:
    h.do("cmos", STATUS_A, 0xFF)
    h.do("init")
    h.do("stop")
    h.do("go", 1 << 31, 1, 1_800_005_000)
    assert read(h).wall == 0


def test_time_goes_forward(h: Harness) -> None:
    h.do("init")
    readings = [read(h).ns for _ in range(50)]
    assert readings == sorted(readings)
    assert readings[0] < readings[-1]
