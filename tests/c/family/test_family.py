# SPDX-License-Identifier: MIT
"""modules/family: forks, children, signals and pipes over a line that is a script, and hosts that break the rules."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.c.support.harness import EAGAIN, EIO, ETIMEDOUT, ROOT, Died, Harness
from tests.c.support.port_programs import build

HELLO, FORK, PREPARED, FROZEN, RESULT, ENDED, KILL, KILLED, SIGNAL = range(1, 10)
PIPE, WRITE, TAKEN, READ, DATA, WANT, READABLE, CLOSE, STATE = range(10, 19)
SNAPSHOT, TEMPLATE, HOLD, GO = 24, 25, 26, 27
ECHILD, EBADF, EPIPE, EMFILE, ENOSYS = -10, -9, -32, -24, -38
SIGINT, SIGTERM = 2, 15
IN, OUT, HUP = 1, 4, 16
WINDOW, PAYLOAD, ATOMIC = 65536, 16384, 4096
ID = 5 << 16 | 1  # of the first pipe of VM 5


def frame(kind: int, payload: bytes = b"", channel: int = 0) -> str:
    return (struct.pack("<IBBHI", len(payload), kind, 0, 0, channel) + payload).hex()


def numbers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = [f"-I{ROOT}", f"-I{ROOT / 'modules/family'}"]
    return build(tmp_path_factory.mktemp("family"), "family_user", *folders, folder="family")


class Family:
    """The program, which has said hello and is VM 5, of VM 3."""

    def __init__(self, h: Harness) -> None:
        self.h = h
        h.do("later", frame(HELLO, numbers(1, 5, 3, 16)))
        assert self.lines("open") == [f"SENT {frame(HELLO, numbers(1))}", "0 5 3"]

    def lines(self, *words: object) -> list[str]:
        return self.h.do(*words).splitlines()

    def sent(self, *words: object) -> list[str]:
        return [line.removeprefix("SENT ") for line in self.lines(*words) if line.startswith("SENT ")]

    def comes(self, kind: int, payload: bytes = b"", channel: int = 0) -> list[str]:
        return self.lines("feed", frame(kind, payload, channel))

    def later(self, kind: int, payload: bytes = b"", channel: int = 0) -> None:
        self.h.do("later", frame(kind, payload, channel))

    def is_over(self, reason: str, lines: list[str]) -> None:
        assert f"floe: family: {reason}" in lines
        assert self.h.number("state") == EIO
        assert self.h.number("run") == 0
        assert self.h.number("kill", 1, 0) == EIO

    def pipe(self) -> None:
        assert self.lines("pipe", 5) == [f"SENT {frame(PIPE, channel=ID)}", "0 100 101"]


@pytest.fixture
def family(h: Harness) -> Iterator[Family]:
    yield Family(h)


def test_fork(family: Family) -> None:
    """The console and the network first, then nothing but the two frames; the child is waited for by its number."""
    family.later(PREPARED)
    family.later(RESULT, numbers(7))
    assert family.lines("fork") == ["DRAIN 1", "FLUSH 1", f"SENT {frame(FORK)}", f"SENT {frame(FROZEN)}", "7 5 3"]
    assert family.lines("ended", -1) == ["0 0"]
    family.comes(ENDED, numbers(7, 3 << 8))
    assert family.lines("ended", 8) == [f"{ECHILD} 0"]
    assert family.lines("ended", 7) == ["7 768"]
    assert family.lines("ended", -1) == [f"{ECHILD} 0"]


def test_a_child_that_ends_at_once(family: Family) -> None:
    """What it came to is there in the same moment as its number."""
    family.later(PREPARED)
    both = frame(RESULT, numbers(7)) + frame(ENDED, numbers(7, 3 << 8))
    family.lines("later", both)
    assert family.lines("fork")[-1] == "7 5 3"
    assert family.lines("ended", -1) == [f"7 {3 << 8}"]
    assert family.lines("ended", -1)[0].startswith(f"{ECHILD} ")


def test_frames_leave_before_a_fork(family: Family) -> None:
    """Where they do not, nothing is asked of the host, and the next one may be."""
    family.h.do("restless", 1 << 30)
    assert family.lines("fork") == ["DRAIN 1", "FLUSH 1", f"{EAGAIN} 5 3"]
    assert family.lines("ended", -1) == [f"{ECHILD} 0"]
    family.h.do("restless", 3)
    for _ in range(2):
        family.h.do("later", "-")  # a wait in which nothing comes
    family.later(PREPARED)
    family.later(RESULT, numbers(7))
    assert family.lines("fork")[-1] == "7 5 3"


def test_the_copy_is_another_machine_with_no_children(family: Family) -> None:
    family.pipe()
    family.h.do("read", 100, 10, 0)
    family.h.do("ready", 101)
    family.later(PREPARED)
    family.later(RESULT, numbers(6))
    family.h.do("fork")
    family.later(PREPARED)
    family.later(RESULT, numbers(0) + b"ok")
    lines = family.lines("fork")[4:]
    assert lines == ["BECAME 7", f"SENT {frame(READ, numbers(10), ID)}", "0 7 3"]
    assert family.lines("ended", -1) == [f"{ECHILD} 0"]


def test_a_copy_does_not_go_on_that_was_not_told_who_it_is(family: Family) -> None:
    family.later(PREPARED)
    family.later(RESULT, numbers(0) + b"pid=nobody")
    with pytest.raises(Died, match="PANIC a copy that was not told who it is"):
        family.h.do("fork")


@pytest.mark.parametrize("prepared", [False, True])
def test_a_fork_that_the_host_refuses(family: Family, prepared: bool) -> None:
    if prepared:
        family.later(PREPARED)
    family.later(RESULT, numbers(EAGAIN))
    assert family.lines("fork")[-1] == f"{EAGAIN} 5 3"
    assert family.lines("ended", -1) == [f"{ECHILD} 0"]
    family.later(PREPARED)
    family.later(RESULT, numbers(9))
    assert family.lines("fork")[-1] == "9 5 3"


@pytest.mark.parametrize("prepared", [False, True])
def test_a_fork_that_is_not_answered_ends(family: Family, prepared: bool) -> None:
    if prepared:
        family.later(PREPARED)
    lines = family.lines("fork")
    assert lines[-1] == f"{ETIMEDOUT} 5 3"
    family.is_over("a fork that did not end", lines)


def test_a_snapshot_is_asked_for_and_kept(h: Harness) -> None:
    """HELLO is not waited for; the VM that is kept goes on, with its children."""
    assert h.do("begin").splitlines() == [f"SENT {frame(HELLO, numbers(1))}", "0"]
    h.do("feed", frame(HELLO, numbers(1, 5, 3, 16)))
    assert h.do("feed", frame(SNAPSHOT)).splitlines() == ["ASKED"]
    assert h.number("template") == 0
    h.do("later", frame(PREPARED))
    h.do("later", frame(RESULT, numbers(1)))
    lines = h.do("snapshot").splitlines()
    assert lines == ["DRAIN 1", "FLUSH 1", f"SENT {frame(FORK, bytes(1))}", f"SENT {frame(FROZEN)}", "1 5 3"]
    assert h.do("ended", -1).splitlines() == [f"{ECHILD} 0"]
    h.do("feed", frame(SNAPSHOT))
    assert h.do("refuse", -125).splitlines() == [f"SENT {frame(SNAPSHOT, numbers(-125))}", "0"]
    assert h.number("state") == 0


@pytest.mark.parametrize("prepared", [False, True])
def test_a_snapshot_that_is_not_answered_ends(family: Family, prepared: bool) -> None:
    """As a fork: the host's part of it may hang."""
    if prepared:
        family.later(PREPARED)
    lines = family.lines("snapshot")
    assert lines[-1] == f"{ETIMEDOUT} 5 3"
    family.is_over("a fork that did not end", lines)


@pytest.mark.parametrize("jump_s", [-7, 86400 * 365])
def test_a_copy_that_is_made_much_later_goes_on(family: Family, jump_s: int) -> None:
    """Its clock is another one, and the host's answer comes after it was seen."""
    family.later(PREPARED)
    family.h.do("jump", jump_s * 10**9)
    family.h.do("later", "-")
    family.later(RESULT, numbers(0) + b"ok")
    assert family.lines("snapshot")[-2:] == ["BECAME 7", "0 7 3"]


def test_a_snapshot_for_which_there_is_no_room(h: Harness) -> None:
    """Whoever is asked cannot take it down: the host hears so, unless it does not read either."""
    h.do("begin", "busy")
    h.do("feed", frame(HELLO, numbers(1, 5, 3, 16)))
    assert h.do("feed", frame(SNAPSHOT)).splitlines() == ["ASKED", f"SENT {frame(SNAPSHOT, numbers(EAGAIN))}"]
    h.do("room", 0)
    assert h.do("feed", frame(SNAPSHOT)).splitlines() == ["ASKED"]
    assert h.number("state") == 0


def test_a_vm_of_a_snapshot_is_alone_and_has_what_it_read_ahead(h: Harness) -> None:
    h.do("later", frame(TEMPLATE))
    h.do("later", frame(HELLO, numbers(1, 5, 3, 16)))
    h.do("open")
    assert h.number("template") == 1
    h.do("pipe", 5)
    h.do("read", 100, 1, 10)
    h.do("feed", frame(DATA, b"ahead", ID))
    h.do("later", frame(PREPARED))
    h.do("later", frame(RESULT, numbers(0) + b"ok"))
    assert h.do("snapshot").splitlines()[4:] == ["RESUME 1", "BECAME 7", "0 7 3"]
    assert h.do("read", 100, 5, 0) == f"5 {b'ahead'.hex()}"
    assert h.number("template") == 0


def kept(h: Harness, result: bytes = numbers(0) + b"ok") -> None:
    """A VM that is about to be copied, and will be told to wait."""
    h.do("later", frame(HELLO, numbers(1, 5, 3, 16)))
    h.do("open")
    for kind, payload in ((PREPARED, b""), (HOLD, b""), (RESULT, result)):
        h.do("later", frame(kind, payload))


def test_a_copy_that_waits_is_another_machine_before_somebody_wants_it(h: Harness) -> None:
    kept(h)
    h.do("later", frame(GO))
    assert h.do("snapshot").splitlines()[4:] == ["RESUME 1", "BECAME 7", f"SENT {frame(HOLD)}", "0 7 3"]
    assert h.number("state") == 0


def test_a_copy_that_waits_and_has_no_host_any_more_ends(h: Harness) -> None:
    kept(h)
    h.do("later", frame(SIGNAL, b"abc"))
    with pytest.raises(Died, match="PANIC a copy that nobody can claim"):
        h.do("snapshot")


@pytest.mark.parametrize("verb", ["snapshot", "fork"])
def test_who_is_no_copy_does_not_wait(h: Harness, verb: str) -> None:
    kept(h, numbers(7))
    assert h.do(verb).splitlines()[-1] == "7 5 3"
    h.do("feed", frame(GO))
    assert h.number("state") == 0


def test_orphans_and_children_nobody_waits_for(family: Family) -> None:
    for pid in range(1000, 3000):
        family.comes(ENDED, numbers(pid, 9))
    assert family.lines("ended", 1500) == ["1500 9"]
    assert family.lines("ended", -1) == ["1000 9"]
    assert family.lines("ended", 2999) == [f"{ECHILD} 0"]


def test_signals(family: Family) -> None:
    assert family.comes(SIGNAL, numbers(SIGTERM)) == ["STOP"]
    assert family.comes(SIGNAL, numbers(SIGINT)) == ["TYPED 03"]
    assert family.comes(SIGNAL, numbers(10)) == []
    family.later(KILLED, numbers(-3))
    assert family.lines("kill", 8, 15) == [f"SENT {frame(KILL, numbers(8, 15))}", "-3"]


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


@pytest.mark.parametrize("there", [1, 11, 12, 13, 15])
def test_half_a_frame_stays_behind_where_the_vm_goes_on(family: Family, there: int) -> None:
    """The line begins anew, and what the host says first is a whole frame."""
    family.h.do("feed", frame(SIGNAL, numbers(SIGTERM))[: 2 * there])
    family.h.do("elsewhere")
    assert family.comes(SIGNAL, numbers(SIGTERM)) == ["STOP"]
    assert family.h.number("state") == 0


def test_frames_in_pieces(family: Family) -> None:
    family.pipe()
    family.h.do("read", 100, PAYLOAD, 0)
    text = frame(DATA, bytes(range(256)) * 64, ID)
    for at in range(0, 64, 2):
        family.h.do("feed", text[at : at + 2])
    family.h.do("feed", text[64:])
    assert family.lines("read", 100, PAYLOAD, 0) == [f"{PAYLOAD} {(bytes(range(256)) * 64).hex()}"]


LIES: dict[str, Callable[[], str]] = {
    "too long": lambda: struct.pack("<IBBHI", PAYLOAD + 1, DATA, 0, 0, ID).hex(),
    "as long as can be": lambda: struct.pack("<IBBHI", 0xFFFFFFFF, DATA, 0, 0, ID).hex(),
    "a flag": lambda: struct.pack("<IBBHI", 0, READABLE, 1, 0, ID).hex(),
    "another flag": lambda: struct.pack("<IBBHI", 0, READABLE, 0, 256, ID).hex(),
    "no type": lambda: frame(0),
    "a type of ours": lambda: frame(WRITE, b"x", ID),
    "a type beyond": lambda: frame(19),
    "a second hello": lambda: frame(HELLO, numbers(1, 5, 3, 16)),
    "prepared for nothing": lambda: frame(PREPARED),
    "a wait of nothing": lambda: frame(HOLD),
    "an end of no wait": lambda: frame(GO),
    "a result of nothing": lambda: frame(RESULT, numbers(7)),
    "an end that is cut off": lambda: frame(ENDED, b"abc"),
    "an answer to nothing": lambda: frame(KILLED, numbers(0)),
    "a signal that is cut off": lambda: frame(SIGNAL, b"abc"),
    "data that nobody asked for": lambda: frame(DATA, b"x", ID),
    "more taken than written": lambda: frame(TAKEN, numbers(1), ID),
    "taken that is cut off": lambda: frame(TAKEN, b"abc", ID),
    "a state that nobody asked for": lambda: frame(STATE, numbers(1), ID),
    "readable with a word": lambda: frame(READABLE, b"abc", ID),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_host_that_breaks_the_rules(family: Family, lie: str) -> None:
    family.pipe()
    lines = family.lines("feed", LIES[lie]())
    kind = "cannot be" if lie in ("too long", "as long as can be", "a flag", "another flag") else "means nothing"
    family.is_over(f"a frame that {kind} came", lines)
    assert family.lines("write", 101, b"x".hex())[-1] == str(EIO)


def test_a_child_before_it_was_prepared(family: Family) -> None:
    family.later(RESULT, numbers(7))
    lines = family.lines("fork")
    assert lines[-1] == f"{EIO} 5 3"
    family.is_over("a frame that means nothing came", lines)


def test_the_line_breaks(family: Family) -> None:
    family.h.do("dead")
    family.is_over("the line is broken", family.lines("run"))


def test_a_host_that_says_nothing(h: Harness) -> None:
    lines = h.do("open").splitlines()
    assert lines[-1] == f"{EIO} 0 0"
    assert "floe: family: the host says nothing" in lines
