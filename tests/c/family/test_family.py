# SPDX-License-Identifier: MIT
"""modules/family: forks, children and signals over a line that is a script, and hosts that break the rules."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.c.family.guestline import (
    DATA,
    ECHILD,
    ENDED,
    FORK,
    FROZEN,
    GO,
    HELLO,
    HOLD,
    ID,
    KILL,
    KILLED,
    PAYLOAD,
    PREPARED,
    READ,
    READABLE,
    RESULT,
    SIGINT,
    SIGNAL,
    SIGTERM,
    SNAPSHOT,
    STATE,
    TAKEN,
    TEMPLATE,
    WRITE,
    Family,
    frame,
    numbers,
)
from tests.c.support.harness import EAGAIN, EIO, ENOSYS, ETIMEDOUT, Died, Harness


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


def test_an_unserved_vm_has_no_family_and_is_kept_again_and_again(h: Harness) -> None:
    """Nobody has answered its HELLO. Who asks may leave, after which it goes on, and the next one may ask."""
    assert h.do("unserved").splitlines() == [f"SENT {frame(HELLO, numbers(1))}", "0"]
    assert h.do("open").splitlines() == [f"{ENOSYS} 0 0"]
    for _ in range(2):
        assert h.do("feed", frame(SNAPSHOT)).splitlines() == ["ASKED"]
        assert h.do("snapshot").splitlines()[-1] == f"{ETIMEDOUT} 0 0"
        h.do("later", frame(PREPARED))
        h.do("later", frame(RESULT, numbers(1)))
        assert h.do("snapshot").splitlines()[-2:] == [f"SENT {frame(FROZEN)}", "1 0 0"]
    h.do("later", frame(PREPARED))
    h.do("later", frame(RESULT, numbers(0) + b"ok"))
    assert h.do("snapshot").splitlines()[-2:] == ["BECAME 7", "0 7 3"]
    assert h.do("open").splitlines() == [f"{ENOSYS} 7 3"]
    assert h.number("state") == 0


@pytest.mark.parametrize("late", [(), (PREPARED,), (RESULT,), (PREPARED, RESULT)])
@pytest.mark.parametrize("prepared", [False, True])
def test_an_unserved_vm_is_kept_after_one_who_was_lost_or_late(
    h: Harness, prepared: bool, late: tuple[int, ...]
) -> None:
    """It has given up by then, and what the late one says is for nobody."""
    h.do("unserved")
    if prepared:
        h.do("later", frame(PREPARED))
    assert h.do("snapshot").splitlines()[-1] == f"{ETIMEDOUT} 0 0"
    for kind in late:
        assert h.do("feed", frame(kind, numbers(EAGAIN) if kind == RESULT else b"")) == ""
    assert h.do("feed", frame(SNAPSHOT)).splitlines() == ["ASKED"]
    h.do("later", frame(PREPARED))
    h.do("later", frame(RESULT, numbers(1)))
    assert h.do("snapshot").splitlines()[-2:] == [f"SENT {frame(FROZEN)}", "1 0 0"]
    assert h.number("state") == 0


@pytest.mark.parametrize("wrong", [frame(PREPARED, b"x"), frame(RESULT, b"abc")])
def test_who_is_late_at_an_unserved_vm_sends_whole_frames(h: Harness, wrong: str) -> None:
    h.do("unserved")
    assert "floe: family: a frame that means nothing came" in h.do("feed", wrong).splitlines()
    assert h.number("state") == EIO


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
    assert h.do("snapshot").splitlines()[4:] == [
        "RESUME 1",
        "BECAME 7",
        f"SENT {frame(HOLD)}",
        f"SENT {frame(GO)}",
        "0 7 3",
    ]
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
