# SPDX-License-Identifier: MIT
"""port/hal/console.c: nothing lost while the sink takes it, nothing waits for long when it does not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

OUT_SIZE, IN_SIZE = 16384, 4096
WRITE_MAX_NS = 1_000_000_000
STALL_NS = 20_000_000
LATE_NS = 2_000_000  # the fake clock moves 1 us at each look at it, and 1 ms at each wait


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("console"), "console")


def sent(h: Harness) -> bytes:
    return bytes.fromhex(h.do("sent"))


def write(h: Harness, data: bytes) -> int:
    """Write; the time that it took in ns."""
    return h.number("write", data.hex() or "-")


def state(h: Harness) -> dict[str, int]:
    return dict(zip(("dropped", "uart", "interrupts", "readable", "room"), h.numbers("state"), strict=True))


def text(n: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(n)


def test_before_a_sink_there_is_the_16550(h: Harness) -> None:
    write(h, b"early")
    h.do("run")
    assert sent(h) == b"early"
    assert state(h)["uart"] == 5


def test_attaching_a_sink_sends_what_was_held(h: Harness) -> None:
    write(h, b"early")
    h.do("attach")
    write(h, b" late")
    h.do("run")
    assert sent(h) == b"early late"
    assert state(h)["uart"] == 0


@pytest.mark.parametrize("n", [0, 1, OUT_SIZE - 1, OUT_SIZE, OUT_SIZE + 1, 3 * OUT_SIZE + 7, 100_000])
def test_every_byte_in_order_at_any_size(h: Harness, n: int) -> None:
    h.do("attach")
    data = text(n)
    write(h, data)
    h.do("run")
    assert sent(h) == data
    assert state(h)["dropped"] == 0


def test_around_the_ring_in_odd_steps(h: Harness) -> None:
    h.do("attach")
    rng = random.Random(7)
    expected, got = b"", b""
    for step in range(200):
        h.do("room", rng.choice([0, 1, 700, 5000, -1]))
        piece = text(rng.randrange(0, 2000), step)
        if len(expected) - len(got) + len(piece) <= OUT_SIZE:
            write(h, piece)
            expected += piece
        h.do("run")
        got += sent(h)
        assert expected.startswith(got)
    h.do("room", -1)
    h.do("run")
    assert got + sent(h) == expected
    assert state(h)["dropped"] == 0


def test_what_fits_is_kept_without_waiting_while_the_sink_is_full(h: Harness) -> None:
    h.do("attach")
    h.do("room", 0)
    assert write(h, text(OUT_SIZE)) < LATE_NS
    assert state(h)["dropped"] == 0
    h.do("room", -1)
    h.do("run")
    assert sent(h) == text(OUT_SIZE)


@pytest.mark.parametrize("busy", [0, 1_000_000])
def test_a_stuck_sink_costs_one_deadline_and_the_rest_is_counted(h: Harness, busy: int) -> None:
    """Also while other devices have work all the time."""
    h.do("attach")
    h.do("room", 0)
    h.do("busy", busy)
    data = text(OUT_SIZE + 5000)
    assert WRITE_MAX_NS <= write(h, data) <= WRITE_MAX_NS + LATE_NS
    assert state(h)["dropped"] == 5000
    assert write(h, b"more") <= LATE_NS  # does not wait again
    assert state(h)["dropped"] == 5004
    h.do("room", -1)
    h.do("run")
    assert sent(h) == data[:OUT_SIZE]
    assert write(h, b"alive again") < LATE_NS
    h.do("run")
    assert sent(h) == b"alive again"


def test_a_sink_that_was_stuck_gets_its_deadline_back(h: Harness) -> None:
    h.do("attach")
    h.do("room", 0)
    write(h, text(OUT_SIZE + 1))
    h.do("room", 100)
    h.do("run")
    assert WRITE_MAX_NS <= write(h, text(101)) <= WRITE_MAX_NS + LATE_NS
    assert state(h)["dropped"] == 2


@pytest.mark.parametrize("per_event", [1, 64])
def test_a_slow_reader_loses_nothing(h: Harness, per_event: int) -> None:
    """However long it takes altogether: the deadline is for a reader that does nothing."""
    h.do("attach")
    h.do("room", 0)
    h.do("per_event", per_event)
    data = text(OUT_SIZE + 2000 * per_event)
    assert write(h, data) > WRITE_MAX_NS
    h.do("room", -1)
    h.do("run")
    assert sent(h) == data
    assert state(h)["dropped"] == 0


def test_a_line_waits_for_a_host_that_lags_but_once(h: Harness) -> None:
    """It leaves before what comes after it; a host that has stopped to read costs little."""
    h.do("attach")
    for _ in range(3):
        h.do("room", 0)
        h.do("per_event", 1)  # by and by
        assert write(h, b"slow lines\n") <= STALL_NS
        assert sent(h) == b"slow lines\n"
        h.do("per_event", 0)
        h.do("room", 0)
        assert STALL_NS <= write(h, b"the first of many\n") <= STALL_NS + LATE_NS
        for _ in range(5):
            assert write(h, b"one more\n") <= LATE_NS
        h.do("room", 100)  # it goes on, and lags still
        assert write(h, b"one more\n") <= LATE_NS
        h.do("room", -1)
        h.do("run")
        assert sent(h) == b"the first of many\n" + 6 * b"one more\n"


@pytest.mark.parametrize(("room", "idle"), [(0, 1), (-1, 0)])
def test_flush_ends_at_its_deadline(h: Harness, room: int, idle: int) -> None:
    h.do("attach")
    h.do("room", room)
    h.do("idle", idle)
    write(h, b"x")
    assert 5_000_000 <= h.number("flush", 5_000_000) <= 5_000_000 + LATE_NS


def test_flush_returns_when_all_has_left(h: Harness) -> None:
    h.do("attach")
    write(h, b"x" * 1000)
    assert h.number("flush", 5_000_000) < 100_000
    assert sent(h) == b"x" * 1000


def test_input_around_its_ring(h: Harness) -> None:
    rng = random.Random(3)
    expected, got = b"", b""
    for step in range(100):
        piece = text(rng.randrange(0, 900), step)
        taken = h.number("input", piece.hex() or "-")
        expected += piece[:taken]
        got += bytes.fromhex(h.do("read", rng.randrange(0, 1200)))
        assert expected.startswith(got)
        assert state(h)["room"] == IN_SIZE - (len(expected) - len(got))
        assert state(h)["readable"] == (len(expected) > len(got))
    got += bytes.fromhex(h.do("read", IN_SIZE))
    assert got == expected
    assert h.do("read", 10) == ""


def test_input_that_does_not_fit_stays_with_the_sender(h: Harness) -> None:
    data = text(IN_SIZE + 100)
    assert h.number("input", data.hex()) == IN_SIZE
    assert h.number("input", b"x".hex()) == 0
    assert bytes.fromhex(h.do("read", 2 * IN_SIZE)) == data[:IN_SIZE]


def test_the_interrupt_character_is_taken_out(h: Harness) -> None:
    assert h.number("input", b"a\x03b".hex()) == 3
    assert state(h)["interrupts"] == 0  # nobody asked for it
    assert bytes.fromhex(h.do("read", 10)) == b"a\x03b"
    h.do("interrupt", 3)
    assert h.number("input", b"a\x03\x03b".hex()) == 4
    assert state(h)["interrupts"] == 2
    assert bytes.fromhex(h.do("read", 10)) == b"ab"
    h.do("interrupt", -1)
    assert h.number("input", b"\xff\x03".hex()) == 2
    assert state(h)["interrupts"] == 2
    assert bytes.fromhex(h.do("read", 10)) == b"\xff\x03"


@pytest.mark.parametrize("before", [0, 1, 700])
def test_an_interrupt_is_heard_behind_a_full_queue(h: Harness, before: int) -> None:
    """What nobody has read is thrown away then, what follows is not."""
    h.do("interrupt", 3)
    assert h.number("input", text(IN_SIZE).replace(b"\x03", b"-").hex()) == IN_SIZE
    assert h.number("input", (b"-" * before + b"\x03after").hex()) == before + 6
    assert state(h)["interrupts"] == 1
    assert bytes.fromhex(h.do("read", 10)) == b"after"


def test_an_interrupt_character_that_is_none_is_queued_as_it_came(h: Harness) -> None:
    h.do("interrupt", 3)
    h.do("deny", 1)
    assert h.number("input", b"a\x03\x03b".hex()) == 4
    assert bytes.fromhex(h.do("read", 10)) == b"a\x03\x03b"
    assert h.number("input", (b"-" * (IN_SIZE - 2) + b"a\x03\x03b").hex()) == IN_SIZE
    assert h.number("input", b"\x03b".hex()) == 0  # no room: nothing is lost, the sender keeps the rest
    assert bytes.fromhex(h.do("read", IN_SIZE))[-3:] == b"-a\x03"
    assert state(h)["interrupts"] == 0


def test_a_larger_queue_takes_over_what_was_there(h: Harness) -> None:
    h.number("input", text(IN_SIZE).hex())
    h.do("read", 1000)
    h.number("input", b"more".hex())
    h.do("grow")
    assert state(h)["room"] == 8192 - (IN_SIZE - 1000 + 4)
    assert bytes.fromhex(h.do("peek")) == text(IN_SIZE)[1000:] + b"more"
    assert bytes.fromhex(h.do("read", 8192)) == text(IN_SIZE)[1000:] + b"more"
    assert h.number("input", text(8200).hex()) == 8192


def test_the_16550_is_polled_for_input_until_a_sink_takes_over(h: Harness) -> None:
    write(h, b"")
    h.do("uart_in", 20)
    assert h.numbers("run") == [1, 1]
    assert h.numbers("run") == [1, 1]
    assert h.do("read", 100) == b"u".hex() * 20
    assert h.numbers("run") == [0, 1]
    h.do("attach")
    assert h.numbers("run") == [0, 0]
