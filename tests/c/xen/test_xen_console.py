# SPDX-License-Identifier: MIT
"""modules/xen/xen_console.c: both directions of the ring, how often the daemon is told, and indices that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.xen_harness import build

IN, OUT = 1024, 2048
MS = 1000000
WRAPS = 0xFFFFFF80  # the indices run over their end soon


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("xencons"), "xen_cons.c")


@pytest.fixture
def h(h: Harness) -> Harness:
    assert h.number("probe") == 1
    h.do("room", 1 << 20)
    return h


def typed(h: Harness) -> bytes:
    """What has reached the console's input since the last call."""
    data = b"".join(bytes.fromhex(line.split(" ", 1)[1].strip()) for line in h.events if line.startswith("INPUT"))
    h.events.clear()
    return data


def test_without_xen_there_is_none(program: Path) -> None:
    with Harness(program) as h:
        h.do("xen", "absent", 1)
        assert h.number("probe") == 0


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 2500)), max_size=12), st.sampled_from([0, WRAPS]))
@settings(deadline=None, max_examples=60)
def test_output_arrives_in_order(program: Path, steps: list[tuple[int, int]], start: int) -> None:
    sent = taken = b""
    with Harness(program) as h:
        h.do("probe", start)
        for number, (size, take) in enumerate(steps):
            data = bytes((number + i) % 251 for i in range(size))
            n = h.number("send", data.hex())
            assert n == min(size, OUT - (len(sent) - len(taken)))
            sent += data[:n]
            taken += bytes.fromhex(h.do("took", take))
        taken += bytes.fromhex(h.do("took", OUT))
        assert taken == sent
        assert h.number("idle") == 1
        assert h.log == []


@pytest.mark.parametrize("start", [0, WRAPS])
def test_input_arrives_in_order(program: Path, start: int) -> None:
    with Harness(program) as h:
        h.do("probe", start)
        h.do("room", 1 << 20)
        want = got = b""
        for size in (1, 700, IN, IN + 5, 3):
            data = bytes((size + i) % 251 for i in range(size))
            want += data[: h.number("type", data.hex())]
            assert h.number("run") == 1
            got += typed(h)
        assert got == want


def test_input_waits_for_room(h: Harness) -> None:
    h.do("room", 10)
    assert h.number("type", (b"a" * 30).hex()) == 30
    h.do("run")
    assert typed(h) == b"a" * 10
    assert h.number("index", "in_cons") == 10
    h.do("room", 0)
    assert h.number("evarm") == 0  # nothing that could be done wakes anyone
    h.do("room", 100)
    assert h.number("evarm") == 1
    h.do("run")
    assert typed(h) == b"a" * 20


def test_the_daemon_hears_of_a_full_ring_that_was_emptied(h: Harness) -> None:
    """It stops reading its terminal at a full ring and goes on at an event, whenever the ring filled up."""
    before = h.number("told")
    h.number("type", (b"a" * 600).hex())
    h.do("run")
    assert h.number("type", (b"a" * IN).hex()) == IN
    h.do("run")
    assert h.number("told") - before >= 2
    assert h.number("index", "in_cons") == 600 + IN


def test_room_that_came_before_the_sleep_ends_it(h: Harness) -> None:
    """The daemon's event may have come before the port was looked at: the ring is looked at again."""
    assert h.number("send", (b"x" * (OUT + 5)).hex()) == OUT
    assert h.number("evarm") == 0
    h.do("took", 100)
    assert h.number("evarm") == 1
    assert h.number("send", b"yy".hex()) == 2
    assert h.number("evarm") == 0


def test_many_small_writes_are_few_events(h: Harness) -> None:
    h.do("hal", "advance", 20 * MS)
    before = h.number("told")
    for _ in range(100):
        assert h.number("send", b"0123456789".hex()) == 10
    assert h.number("told") - before <= 3  # the first, and about half a ring
    h.do("evarm")  # a sleep is no delay for what was written
    after = h.number("told")
    h.do("evarm")
    assert h.number("told") == after
    assert len(bytes.fromhex(h.do("took", OUT))) == 1000


def test_what_was_written_is_told_in_time(h: Harness) -> None:
    h.do("hal", "advance", 20 * MS)
    h.do("send", b"a".hex())
    told = h.number("told")
    h.do("send", b"b".hex())
    assert h.number("told") == told  # not yet
    h.do("hal", "advance", 20 * MS)
    h.do("run")
    assert h.number("told") == told + 1


def test_the_end_tells(h: Harness) -> None:
    h.do("send", b"a".hex())
    h.do("send", b"b".hex())
    told = h.number("told")
    assert h.number("idle") == 0
    assert h.number("told") == told + 1
    h.do("took", 10)
    assert h.number("idle") == 1


@pytest.mark.parametrize(
    ("name", "value"), [("in_prod", IN + 1), ("in_prod", 0xFFFFFFFF), ("in_prod", 1 << 31), ("in_prod", 5000)]
)
def test_a_daemon_that_typed_what_cannot_be(h: Harness, name: str, value: int) -> None:
    h.do("index", name, value)
    h.do("run")
    assert h.log == ["xen console: the host typed more than there is room for"]
    assert typed(h) == b""
    h.do("run")
    assert h.number("send", b"abc".hex()) == 0
    assert len(h.log) == 1
    assert h.number("evarm") == 0


@pytest.mark.parametrize("value", [1, OUT + 1, 0x80000000, 0xFFFFFFFF - OUT])
def test_a_daemon_that_took_what_was_not_there(h: Harness, value: int) -> None:
    h.do("index", "out_cons", value)
    assert h.number("send", b"abc".hex()) == 0
    assert h.log == ["xen console: the host took more than was written"]
    assert h.number("idle") == 1  # nobody waits for a dead console
    assert h.events[-1] == "ATTACH uart"


def test_our_indices_are_not_read_back(h: Harness) -> None:
    """What the daemon writes over them changes nothing."""
    h.do("send", b"abc".hex())
    h.do("index", "out_prod", 999)
    h.do("index", "in_cons", 777)
    assert h.number("send", b"def".hex()) == 3
    assert h.number("index", "out_prod") == 6
    assert bytes.fromhex(h.do("took", 10)) == b"abcdef"
    h.do("run")
    assert h.number("index", "in_cons") == 0
    assert h.log == []


def test_a_panic_s_words_are_not_written_over(h: Harness) -> None:
    h.do("send", b"abc".hex())
    h.do("early", b"PANIC".hex())
    assert h.number("send", b"what was still to be sent".hex()) == 25
    assert bytes.fromhex(h.do("took", 100)) == b"abcPANICwhat was still to be sent"
    assert h.number("idle") == 1
