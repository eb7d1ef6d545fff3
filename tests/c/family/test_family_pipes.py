# SPDX-License-Identifier: MIT
"""modules/family: pipes over a line that is a script."""

from __future__ import annotations

from tests.c.family.guestline import (
    ATOMIC,
    CLOSE,
    DATA,
    EBADF,
    EMFILE,
    ENDED,
    EPIPE,
    HUP,
    ID,
    IN,
    OUT,
    PAYLOAD,
    PREPARED,
    READ,
    READABLE,
    RESULT,
    STATE,
    TAKEN,
    WANT,
    WINDOW,
    WRITE,
    Family,
    frame,
    numbers,
)
from tests.c.support.harness import EAGAIN, EIO


def test_a_pipe_is_read(family: Family) -> None:
    family.pipe()
    assert family.lines("read", 100, 5, 0) == [f"SENT {frame(READ, numbers(5), ID)}", f"{EAGAIN} "]
    assert family.lines("read", 100, 3, 0) == [f"{EAGAIN} "]  # one is out
    assert family.lines("ready", 100) == ["0"]
    family.comes(DATA, b"hello", ID)
    assert family.lines("ready", 100) == [str(IN)]
    assert family.lines("read", 100, 3, 0) == [f"3 {b'hel'.hex()}"]
    assert family.lines("read", 100, 3, 0) == [f"2 {b'lo'.hex()}"]
    assert family.sent("read", 100, 3, 4096) == [frame(READ, numbers(4096), ID)]
    family.comes(DATA, b"", ID)
    assert family.lines("ready", 100) == [str(IN | HUP)]
    assert family.lines("read", 100, 3, 0) == ["0 "]
    assert family.sent("read", 100, 1 << 20, 0) == [frame(READ, numbers(PAYLOAD), ID)]
    assert family.lines("read", 101, 3, 0) == [f"{EBADF} "]


def test_a_reader_is_told_when_there_is_something(family: Family) -> None:
    family.pipe()
    assert family.sent("ready", 100) == [frame(WANT, b"\1", ID)]
    assert family.lines("ready", 100) == ["0"]
    family.comes(READABLE, b"", ID)
    assert family.lines("ready", 100) == [str(IN)]
    assert family.sent("read", 100, 9, 0) == [frame(READ, numbers(9), ID)]


def test_a_pipe_is_looked_into(family: Family) -> None:
    """What has come stays until it is skipped, and the end stays."""
    family.pipe()
    assert family.lines("peek", 100) == [f"SENT {frame(READ, numbers(PAYLOAD), ID)}", f"{EAGAIN} "]
    assert family.lines("peek", 100) == [f"{EAGAIN} "]  # one is out
    family.comes(DATA, b"hello", ID)
    assert family.lines("peek", 100) == family.lines("peek", 100) == [f"5 {b'hello'.hex()}"]
    family.h.do("skip", 100, 3)
    assert family.lines("peek", 100) == [f"2 {b'lo'.hex()}"]
    family.h.do("skip", 100, 2)
    assert family.sent("peek", 100) == [frame(READ, numbers(PAYLOAD), ID)]
    family.comes(DATA, b"", ID)
    assert family.lines("peek", 100) == family.lines("peek", 100) == ["0 "]
    assert family.lines("peek", 101) == [f"{EBADF} "]


def test_the_room_of_a_pipe(family: Family) -> None:
    family.pipe()
    family.h.do("write", 101, b"hello".hex())
    assert family.lines("space", 101) == [str(WINDOW - 5)]
    family.comes(TAKEN, numbers(-1), ID)
    assert family.lines("space", 101) == [str(EPIPE)]
    assert family.lines("space", 100) == [str(EBADF)]


def test_a_copy_has_no_pipe_that_is_kept_from_it(family: Family) -> None:
    """Nor does it ask for what comes out of it."""
    family.pipe()
    family.h.do("pipe", 5)
    family.h.do("close", 101)
    family.h.do("read", 100, 10, 0)
    family.h.do("keep", 100)
    family.later(PREPARED)
    family.later(RESULT, numbers(7))
    family.h.do("fork")
    family.later(PREPARED)
    family.later(RESULT, numbers(0) + b"ok")
    assert family.lines("fork")[4:] == ["BECAME 7", f"SENT {frame(CLOSE, bytes(1), ID)}", "0 7 3"]
    assert family.lines("close", 100) == [str(EBADF)]
    assert family.lines("ready", 103) == [str(OUT)]


def test_a_read_is_taken_back(family: Family) -> None:
    """What came before the answer is here; after it nothing comes, and a later read asks anew."""
    family.pipe()
    assert family.sent("read", 100, 5, 0) == [frame(READ, numbers(5), ID)]
    assert family.lines("ask", 100, 1) == [f"SENT {frame(STATE, bytes([1]), ID)}", "0"]
    assert family.lines("lies", 100) == [str(EAGAIN)]
    assert family.lines("read", 100, 5, 0) == [f"{EAGAIN} "]
    family.comes(STATE, numbers(0), ID)
    assert family.lines("lies", 100) == ["0"]
    assert family.lines("take", 100, 5) == [f"{EAGAIN} "]
    assert family.sent("read", 100, 5, 0) == [frame(READ, numbers(5), ID)]
    assert family.sent("ask", 100, 1) == [frame(STATE, b"\1", ID)]
    family.comes(DATA, b"late", ID)
    assert family.lines("lies", 100) == [str(EAGAIN)]
    family.comes(STATE, numbers(0), ID)
    assert family.lines("lies", 100) == ["4"]
    assert family.lines("take", 100, 5) == [f"4 {b'late'.hex()}"]
    assert family.lines("take", 101, 5) == [f"{EBADF} "]


def test_a_read_is_not_taken_back_by_what_was_said_before_it(family: Family) -> None:
    """As after an interrupt: nobody has waited for the answer."""
    family.pipe()
    family.h.do("read", 100, 5, 0)
    family.h.do("ask", 100, 1)
    family.comes(DATA, b"early", ID)
    assert family.lines("take", 100, 5) == [f"5 {b'early'.hex()}"]
    assert family.sent("read", 100, 3, 0) == [frame(READ, numbers(3), ID)]
    family.comes(STATE, numbers(0), ID)
    assert family.lines("read", 100, 3, 0) == [f"{EAGAIN} "]  # it is out
    assert family.comes(DATA, b"abc", ID) == []
    assert family.lines("take", 100, 5) == [f"3 {b'abc'.hex()}"]
    assert family.h.number("state") == 0


def test_what_lies_in_a_pipe_is_asked(family: Family) -> None:
    family.pipe()
    assert family.lines("ready", 100)[-1] == "0"
    assert family.sent("ask", 100, 1) == [frame(STATE, b"\0", ID)]  # no read is out
    assert family.lines("ask", 100, 0) == [str(EAGAIN)]  # two answers could not be told apart
    family.comes(STATE, numbers(70000), ID)
    assert family.lines("lies", 100) == ["70000"]
    assert family.lines("ready", 100) == [str(IN)]
    family.h.do("ask", 100, 0)
    assert family.sent("read", 100, 5, 0) == [frame(READ, numbers(5), ID)]
    assert family.lines("ask", 100, 1) == [str(EAGAIN)]
    family.comes(STATE, numbers(-1), ID)
    assert family.lines("lies", 100) == [str(EPIPE)]
    assert family.lines("ask", 101, 0) == family.lines("lies", 101) == [str(EBADF)]


def test_the_copy_asks_nothing_that_its_parent_has_asked(family: Family) -> None:
    family.pipe()
    family.h.do("read", 100, 5, 0)
    family.h.do("ask", 100, 1)
    family.later(PREPARED)
    family.later(RESULT, numbers(0) + b"ok")
    assert family.lines("fork")[4:] == ["BECAME 7", "0 7 3"]
    assert family.sent("ask", 100, 0) == [frame(STATE, b"\0", ID)]


def test_an_end_that_can_be_told(family: Family) -> None:
    family.later(PREPARED)
    family.later(RESULT, numbers(7))
    family.h.do("fork")
    assert [family.lines("has_ended", pid) for pid in (-1, 7, 8)] == [["0"], ["0"], ["1"]]
    family.comes(ENDED, numbers(7, 0))
    assert [family.lines("has_ended", pid) for pid in (-1, 7)] == [["1"], ["1"]]


def test_a_pipe_is_written(family: Family) -> None:
    """Within a window, the small ones in one piece or not at all."""
    family.pipe()
    assert family.lines("write", 101, b"hi".hex()) == [f"SENT {frame(WRITE, b'hi', ID)}", "2"]
    room = WINDOW - 2
    for _ in range(3):
        assert family.lines("write", 101, bytes(20000).hex())[-1] == str(PAYLOAD)
        room -= PAYLOAD
    assert family.lines("write", 101, bytes(room - ATOMIC + 1).hex())[-1] == str(room - ATOMIC + 1)
    assert family.lines("ready", 101) == ["0"]
    assert family.lines("write", 101, bytes(ATOMIC).hex()) == [str(EAGAIN)]
    assert family.lines("write", 101, bytes(ATOMIC + 1).hex())[-1] == str(ATOMIC - 1)
    family.comes(TAKEN, numbers(ATOMIC), ID)
    assert family.lines("ready", 101) == [str(OUT)]
    family.comes(TAKEN, numbers(-1), ID)
    assert family.lines("ready", 101) == [str(OUT | HUP)]
    assert family.lines("write", 101, b"x".hex()) == [str(EPIPE)]


def test_a_host_that_does_not_read(family: Family) -> None:
    family.pipe()
    family.h.do("room", 0)
    lines = family.lines("write", 101, b"x".hex())
    assert lines[-1] == str(EIO)
    family.is_over("the host does not read", lines)


def test_the_lowest_descriptors_are_given_again(family: Family) -> None:
    family.pipe()
    assert family.lines("pipe", 5)[-1] == "0 102 103"
    assert family.sent("close", 100) == [frame(CLOSE, b"\0", ID)]
    assert family.lines("pipe", 5)[-1] == "0 104 105"
    assert family.sent("close", 101) == [frame(CLOSE, b"\1", ID)]
    assert family.lines("close", 101) == [str(EBADF)]
    assert family.lines("pipe", 5)[-1] == "0 100 101"
    for _ in range(509):
        family.h.do("pipe", 5)
    assert family.lines("pipe", 5) == [f"{EMFILE} 0 0"]


def test_ends_that_nobody_has_are_closed_later(family: Family) -> None:
    for _ in range(3):
        family.h.do("pipe", 5)
    assert family.lines("sweep") == []
    for fd in (100, 102, 103, 99, 200):
        assert family.lines("abandon", fd) == []
    family.h.do("close", 100)
    assert family.sent("sweep") == [frame(CLOSE, b"\0", ID + 1), frame(CLOSE, b"\1", ID + 1)]
    assert family.lines("sweep") == []
    assert family.lines("ready", 101) == [str(OUT)]
    assert family.lines("pipe", 5)[-1] == "0 102 103"
    assert family.lines("sweep") == []


def test_an_end_that_is_used_by_its_number_is_not_swept(family: Family) -> None:
    """Or it went while whoever uses it waits for room."""
    family.h.do("pipe", 5)
    for fd, use in ((100, "read 100 5 0"), (101, "write 101 78")):
        assert family.lines("abandon", fd) == []
        family.h.do(*use.split())
    assert family.lines("sweep") == []
    assert family.lines("abandon", 101) == []
    assert family.sent("sweep") == [frame(CLOSE, b"\1", ID)]


def test_what_crosses_a_close_means_nothing(family: Family) -> None:
    family.pipe()
    family.h.do("read", 100, 5, 0)
    family.h.do("close", 100)
    family.comes(DATA, b"late", ID)
    family.h.do("close", 101)
    for kind, payload in ((DATA, b"x"), (TAKEN, numbers(1)), (READABLE, b"")):
        assert family.comes(kind, payload, ID) == []
    assert family.h.number("state") == 0
