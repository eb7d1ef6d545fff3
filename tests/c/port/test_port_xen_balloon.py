# SPDX-License-Identifier: MIT
"""port/xen/balloon.c: free RAM goes back to the host and comes again; RAM in use never goes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.c.support.harness import ETIMEDOUT, Harness
from tests.c.support.port_programs import build

MIB = 1 << 20
KEEP = 256  # pages that stay free
ALL = 63 * 256  # pages of 63 MiB


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("xen_balloon"), "xen_balloon")


@pytest.fixture
def h(h: Harness) -> Harness:
    h.do("ram", MIB, 64 * MIB)
    h.do("max", 64 * 1024)
    h.do("target", 64 * 1024)
    return h


def start(h: Harness) -> None:
    h.number("probe")
    h.do("watch")
    h.do("fire")
    h.do("run")


def aim(h: Harness, kib: int | str) -> None:
    h.do("target", kib)
    h.do("fire")
    h.do("run")


class State(NamedTuple):
    """In pages: what was given away, what is there, what the HAL tells the heap of; and ns until the next attempt, or -1."""

    given: int
    there: int
    total: int
    left: int


def state(h: Harness) -> State:
    return State(*h.numbers("state"))


def test_down_and_up(h: Harness) -> None:
    start(h)
    assert state(h) == (0, ALL, ALL, -1)
    aim(h, 32 * 1024)  # of 64 MiB: 1 of them is not in the map, and counts as there
    assert state(h) == (32 * 256, 31 * 256, 31 * 256, -1)
    aim(h, 48 * 1024)
    assert state(h) == (16 * 256, 47 * 256, 47 * 256, -1)
    aim(h, 1 << 30)  # more than there ever was
    assert state(h) == (0, ALL, ALL, -1)
    for kib in (63 * 1024 + 4, 50 * 1024 + 12, 1024 * 64):  # pages, not steps
        aim(h, kib)
        assert state(h).there == kib // 4 - 256
    assert state(h).left == -1


def test_the_main_loop_is_not_held_up(h: Harness) -> None:
    start(h)
    h.do("target", 8 * 1024)
    h.do("fire")
    before = h.number("calls")
    assert h.number("run") > 5  # turns of 2 ms each
    assert h.number("calls") - before == 28  # steps of 2 MiB


def test_a_watch_that_is_refused_is_told(h: Harness) -> None:
    h.number("probe")
    assert h.number("watch", 110) == ETIMEDOUT
    assert h.number("watch") == 0
    aim(h, 32 * 1024)
    assert state(h) == (32 * 256, 31 * 256, 31 * 256, -1)


def test_what_is_in_use_stays(h: Harness) -> None:
    start(h)
    taken = h.number("take", 40 * MIB)
    aim(h, 0)
    given, there, _, left = state(h)
    assert given == 23 * 256 - KEEP
    assert there == 40 * 256 + KEEP
    assert 0 < left <= 1_000_000_000
    h.do("advance", 1_100_000_000)
    h.do("run")
    assert state(h).given == given
    h.do("return", taken, 40 * MIB)  # it does not border on free RAM: nothing can be done
    h.do("advance", 1_100_000_000)
    h.do("run")
    assert state(h).given == given


def test_up_again_when_what_is_below_is_free(h: Harness) -> None:
    start(h)
    aim(h, 32 * 1024)
    taken = h.number("take", MIB)
    aim(h, 64 * 1024)
    assert state(h).given == 32 * 256  # its place is behind what was taken since
    assert state(h).there == 31 * 256
    assert h.number("return", taken, MIB) == 1
    h.do("advance", 1_100_000_000)
    h.do("run")
    assert state(h) == (0, ALL, ALL, -1)


def test_a_host_without_memory(h: Harness) -> None:
    start(h)
    aim(h, 32 * 1024)
    h.do("refuse", 1000)
    aim(h, 64 * 1024)
    assert state(h).given == 32 * 256 - 1000
    h.do("refuse", -1)
    h.do("run")
    assert state(h).given == 32 * 256 - 1000  # not before a second is over
    h.do("advance", 1_100_000_000)
    h.do("run")
    assert state(h) == (0, ALL, ALL, -1)


def test_a_host_that_takes_nothing(h: Harness) -> None:
    start(h)
    h.do("refuse", 0)
    aim(h, 32 * 1024)
    assert state(h)[:3] == (0, ALL, ALL)
    assert state(h).left > 0


@pytest.mark.parametrize("kib", ["-", str(1 << 41)])
def test_a_target_that_is_none(h: Harness, kib: str) -> None:
    start(h)
    aim(h, kib)
    assert state(h) == (0, ALL, ALL, -1)


def test_a_domain_that_began_with_less(h: Harness) -> None:
    """maxmem over memory: given back at once, before anyone asks for memory, with few hypercalls."""
    h.do("target", 16 * 1024)
    h.do("missing", 48 * 256)
    assert h.number("probe") == 1
    assert state(h)[:3] == (48 * 256, 15 * 256, 15 * 256)
    assert h.number("calls") < 30


def test_a_domain_that_has_all_asks_nothing_at_its_start(h: Harness) -> None:
    h.number("probe")
    assert h.number("calls") == 1
    assert state(h) == (0, ALL, ALL, -1)


def test_random_lives(h: Harness) -> None:
    assert h.number("fuzz", 1, 100) == 0
