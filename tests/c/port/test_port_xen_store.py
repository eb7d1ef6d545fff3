# SPDX-License-Identifier: MIT
"""port/xen/store.c: requests and watches over a ring, and an other end that lies, one fault a parameter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import EAGAIN, EINVAL, EIO, EMSGSIZE, ENODEV, ETIMEDOUT, Harness
from tests.c.support.port_programs import build

ENOENT = -2
SECOND = 1_000_000_000
DEAD = "; nothing is asked any more"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("xen_store"), "xen_store")


def run(h: Harness) -> list[str]:
    """Turns of the main loop, until nothing is left to do: the watches that fired."""
    seen = []
    while (lines := h.do("run").splitlines())[-1] == "1":
        seen += [line.removeprefix("fired ") for line in lines[:-1]]
    return seen


def test_read_and_write(h: Harness) -> None:
    h.do("set", "name", "hello")
    assert h.do("read", "name", 100) == "5 hello"
    assert h.do("read", "name", 6) == "5 hello"
    assert h.do("read", "name", 5) == "5 hell"  # cut, and the length says so
    assert h.do("read", "name", 1) == "5 "
    assert h.do("read", "name", 0) == "5 "
    assert h.do("read", "other", 10) == f"{ENOENT} "
    assert h.number("write", "data/x", "abc") == 0
    assert h.do("get", "data/x") == "abc"
    assert h.number("rm", "data/x") == 0
    assert h.number("rm", "data/x") == ENOENT
    assert h.log == []


@pytest.mark.parametrize("step", [1, 5, 1000, 1024])
@pytest.mark.parametrize("start", [0, 1000, 0xFFFFFFF0])
def test_messages_longer_than_the_ring(h: Harness, step: int, start: int) -> None:
    h.do("indices", start)
    h.do("step", step)
    for n in (1020, 4000, 1):
        assert h.number("long", "k", n) == 0
        assert h.do("read", "k", 5000) == f"{n} {'x' * n}"
    assert h.number("long", "k", 4096 - 2) == 0  # with the path the longest there is
    assert h.number("long", "k", 4096 - 1) == EMSGSIZE
    assert h.do("read", "k", 10) == "4094 xxxxxxxxx"


@pytest.mark.parametrize(
    ("text", "limit", "value"),
    [("0", 10, 0), ("10", 10, 10), ("18446744073709551615", 2**64 - 1, 2**64 - 1), ("007", 7, 7)],
)
def test_numbers(h: Harness, text: str, limit: int, value: int) -> None:
    h.do("set", "n", text)
    assert h.numbers("num", "n", limit) == [0, value]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("", 10),
        ("11", 10),
        ("7", 1),
        ("9", 8),
        ("1", 0),
        ("1x", 99),
        ("-1", 99),
        ("+1", 99),
        ("18446744073709551616", 2**64 - 1),
        ("9" * 300, 99),
    ],
)
def test_what_is_no_number(h: Harness, text: str, limit: int) -> None:
    h.do("set", "n", text)
    assert h.numbers("num", "n", limit) == [EINVAL, 0]


def test_list(h: Harness) -> None:
    h.do("set", "device", "vif,vbd,")
    assert h.do("list", "device", 100) == "8 vif vbd"
    assert h.do("list", "device", 8) == "8 vif vbd"
    assert h.do("list", "device", 7) == str(EMSGSIZE)
    assert h.do("list", "none", 7) == str(ENOENT)
    h.do("set", "empty", "")
    assert h.do("list", "empty", 0) == "0"


def test_transactions(h: Harness) -> None:
    assert h.numbers("begin") == [0, 77]
    assert h.number("write", "k", "v", 77) == 0
    assert h.number("end", 77, 1) == 0
    assert h.number("end", 78, 1) == EAGAIN
    assert h.log == []


def test_watches(h: Harness) -> None:
    assert h.number("watch", "a", "device") == 0
    assert h.number("watch", "b", "other") == 0
    assert h.number("arm") == 1
    assert sorted(run(h)) == ["a", "b"]  # once at the start
    assert h.number("arm") == 0
    h.do("touch", "a")
    h.do("touch", "a")
    assert run(h) == ["a"]  # once for all changes
    h.do("touch", "b")
    h.do("set", "k", "v")
    assert h.do("read", "k", 10) == "1 v"  # the event came in before the answer, and waits
    assert h.number("arm") == 1
    assert run(h) == ["b"]
    h.do("unwatch", "a")
    h.do("touch", "a")  # it was on its way
    assert run(h) == []
    assert h.number("watch", "a", "device") == 0
    assert run(h) == ["a"]


def test_only_basic_watches_are_served_while_the_vm_stands_still(h: Harness) -> None:
    h.do("watch", "a", "device")
    h.do("basic", "b", "control")
    h.do("watch", "c", "memory")
    run(h)
    h.do("alone", 1)
    for name in "abc":
        h.do("touch", name)
    h.do("read", "k", 10)  # they come in before its answer
    assert h.number("arm") == 1
    assert run(h) == ["b"]
    assert h.number("arm") == 0  # nobody is kept awake by what waits
    h.do("alone", 0)
    assert h.number("arm") == 1
    assert sorted(run(h)) == ["a", "c"]


def test_a_watch_that_is_refused_is_not_linked(h: Harness) -> None:
    h.do("watch", "b", "other")
    h.do("fault", "error", 0)
    assert h.number("watch", "a", "device") == EIO
    h.do("touch", "a")
    assert run(h) == ["b"]


def test_a_watch_that_was_set_although_its_answer_was_lost(h: Harness) -> None:
    """Asked again, the store says that it is there. Its first event came to nobody: the reader looks once all the same."""
    h.do("watch", "b", "other")
    run(h)
    h.do("fault", "silent", 0)
    assert h.number("watch", "a", "device") == ETIMEDOUT
    h.do("touch", "a")
    assert run(h) == []
    assert h.number("watch", "a", "device") == 0
    assert run(h) == ["a"]
    h.do("touch", "a")
    assert run(h) == ["a"]
    h.do("unwatch", "a")
    h.do("touch", "a")
    assert run(h) == [] and h.log == []


@pytest.mark.parametrize(
    ("fault", "err", "why"),
    [
        ("deaf", ETIMEDOUT, "no answer"),
        ("more", ETIMEDOUT, "no answer"),
        ("cut", ETIMEDOUT, "no answer"),
        ("flood", ETIMEDOUT, "no answer"),
        ("type", EIO, "an answer to another question"),
        ("long", EIO, "a message that is too long"),
        ("huge", EIO, "a message that is too long"),
        ("event", EIO, "a watch event without a name"),
        ("event_half", EIO, "a watch event without a name"),
        ("event_empty", EIO, "a watch event without a name"),
        ("rsp_jump", EIO, "the host answered more than there is room for"),
        ("req_jump", EIO, "the host took more than was asked"),
    ],
)
@pytest.mark.parametrize("at", [0, 2])
def test_lies(h: Harness, fault: str, err: int, why: str, at: int) -> None:
    """One log line, and nothing is asked any more."""
    h.do("set", "k", "v")
    h.do("fault", fault, at)
    answers = []
    for _ in range(12):
        before = h.number("clock")
        answers.append(h.do("read", "k", 10))
        assert h.number("clock") - before < 5.1 * SECOND
    first = next(i for i, a in enumerate(answers) if a != "1 v")
    assert at <= first <= at + 2
    assert set(answers[first:]) == {f"{err} "}
    assert h.log == [f"xenstore: {why}{DEAD}"]
    asked = h.number("asked")
    assert h.number("write", "k", "w") == err
    assert h.do("begin") == f"{err} 0"
    assert h.number("asked") == asked
    assert len(h.log) == 1


@pytest.mark.parametrize("fault", ["silent", "id"])
def test_a_request_without_an_answer_fails_alone(h: Harness, fault: str) -> None:
    """The host was busy, or the VM paused; three in a row are another matter."""
    h.do("set", "k", "v")
    for _ in range(5):
        h.do("fault", fault, 0)
        assert h.do("read", "k", 10) == f"{ETIMEDOUT} "
        assert h.do("read", "k", 10) == "1 v"
    assert h.log == []
    for _ in range(3):
        assert h.log == []
        h.do("fault", fault, 0)
        assert h.do("read", "k", 10) == f"{ETIMEDOUT} "
    assert h.log == [f"xenstore: no answer{DEAD}"]
    asked = h.number("asked")
    assert h.do("read", "k", 10) == f"{ETIMEDOUT} "
    assert h.number("asked") == asked


@pytest.mark.parametrize("fault", ["error", "error_open"])
def test_an_error_of_any_name(h: Harness, fault: str) -> None:
    h.do("set", "k", "v")
    h.do("fault", fault, 0)
    assert h.do("read", "k", 10) == f"{EIO if fault == 'error' else ENOENT} "
    assert h.do("read", "k", 10) == "1 v"


def test_what_is_nobody_s_is_passed_over(h: Harness) -> None:
    h.do("set", "k", "v")
    h.do("fault", "before", 0)
    assert h.do("read", "k", 10) == "1 v"
    assert h.log == []


@pytest.mark.parametrize("fault", ["zero", "word", "none"])
def test_a_transaction_without_a_number(h: Harness, fault: str) -> None:
    h.do("fault", fault, 0)
    assert h.do("begin") == f"{EIO} 0"
    assert h.log == [f"xenstore: a transaction without a number{DEAD}"]


def test_names_without_an_end(h: Harness) -> None:
    h.do("set", "device", "vif,")
    h.do("fault", "open", 0)
    assert h.do("list", "device", 100) == str(EIO)
    assert h.log == [f"xenstore: names without an end{DEAD}"]


@pytest.mark.parametrize(
    ("pfn", "port"), [(0, 3), (-1, 3), (1 << 20, 3), (0x20000, 0), (0x20000, -22), (0x20000, 4096)]
)
def test_no_ring(h: Harness, pfn: int, port: int) -> None:
    h.do("param", pfn, port)
    assert h.do("read", "k", 10) == f"{ENODEV} "
    assert h.log == [f"xenstore: the host gave no ring{DEAD}"]


def test_a_store_that_is_not_connected(h: Harness) -> None:
    h.do("connection", 1)
    assert h.do("read", "k", 10) == f"{ETIMEDOUT} "
    assert h.log == [f"xenstore: no connection{DEAD}"]


def test_a_dead_store_does_not_keep_the_vm_awake(h: Harness) -> None:
    h.do("watch", "a", "device")
    run(h)
    h.do("fault", "rsp_jump", 0)
    h.do("read", "k", 10)
    assert h.number("arm") == 0
    assert run(h) == []


@pytest.mark.parametrize("broken", ["", "half", "dead"])
def test_another_domain(h: Harness, broken: str) -> None:
    """Its ring is empty and its store knows no watch: each is set again and fires, whatever state the old ring was in."""
    h.do("indices", 1000)
    for name in ("a", "b"):
        h.do("watch", name, name)
    h.do("unwatch", "b")
    run(h)
    if broken == "half":
        h.do("step", 7)
        h.do("touch", "a")
        h.do("run")  # half of the event has come
        h.do("step", 1024)
    elif broken == "dead":
        h.do("fault", "type", 0)
        assert h.number("write", "k", "v") == EIO
    h.do("anew")
    assert run(h) == ["a"]
    h.do("set", "k", "v")
    assert h.do("read", "k", 10) == "1 v"
    h.do("touch", "a")
    assert run(h) == ["a"]
    assert len(h.log) == (broken == "dead")


@pytest.mark.parametrize("fault", ["error", "eagain", "silent"])
def test_a_watch_that_another_domain_s_store_refuses_is_set_later(h: Harness, fault: str) -> None:
    """It is looked at once meanwhile; those whose turn it was not are set with it. One line."""
    for name in ("a", "b"):
        h.do("watch", name, name)
    run(h)
    h.do("fault", fault, 0)
    h.do("anew")
    assert sorted(run(h)) == ["a", "b"]
    err = {"error": EIO, "eagain": EAGAIN, "silent": ETIMEDOUT}[fault]
    assert h.log == [f"xenstore: a watch cannot be set ({err}); it is tried again"]
    assert 0 < h.number("left") <= SECOND // 10
    h.do("sleep", SECOND // 10)
    run(h)  # fires once more, as any new watch does
    assert h.number("left") == -1 and len(h.log) == 1
    for name in ("a", "b"):
        h.do("touch", name)
        assert run(h) == [name]


def test_a_watch_that_is_refused_for_long(h: Harness) -> None:
    """The pauses grow to 30 s, one line says it; in a third domain all begins anew."""
    h.do("watch", "a", "a")
    run(h)
    h.do("fault", "eagains", -1)
    h.do("anew")
    pauses = []
    for _ in range(12):
        pauses.append(h.number("left") / SECOND)
        h.do("sleep", h.number("left"))
        run(h)
    assert pauses[:3] == pytest.approx([0.1, 0.2, 0.4], rel=0.1) and pauses[-1] == pytest.approx(30, rel=0.1)
    assert len(h.log) == 1
    h.do("anew")
    assert len(h.log) == 2 and h.number("left") <= SECOND // 10
    h.do("fault", "", 1000)
    h.do("sleep", SECOND // 10)
    assert "a" in run(h) and h.number("left") == -1


def test_a_watch_that_is_refused_may_be_taken_back(h: Harness) -> None:
    for name in ("a", "b"):
        h.do("watch", name, name)
    run(h)
    h.do("fault", "eagains", -1)
    h.do("anew")
    h.do("unwatch", "b")
    h.do("unwatch", "a")
    h.do("sleep", SECOND)
    assert run(h) == [] and h.number("left") == -1


def test_a_store_that_is_silent_in_another_domain(h: Harness) -> None:
    """It is asked for one watch at a time, and it is dead after the third: nobody waits longer for it."""
    for name in ("a", "b", "c"):
        h.do("watch", name, name)
    run(h)
    h.do("fault", "silence", -1)
    before = h.number("clock")
    h.do("anew")
    assert h.number("clock") - before < 6 * SECOND
    for _ in range(4):
        h.do("sleep", SECOND)
        run(h)
    assert [line.partition(" (")[0] for line in h.log] == [
        "xenstore: a watch cannot be set",
        f"xenstore: no answer{DEAD}",
    ]
    assert h.number("left") == -1 and h.number("arm") == 0


@pytest.mark.parametrize("seed", [1, 1000])
def test_random_lives(h: Harness, seed: int) -> None:
    for first in range(seed, seed + 250, 25):  # each answer has a deadline of its own
        assert h.number("fuzz", first, 25) == 0
