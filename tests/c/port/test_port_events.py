# SPDX-License-Identifier: MIT
"""port/hal/events.c: who is run, who is armed, and when the VM sleeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

NEVER = 2**64 - 1


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("events"), "events")


def sources(h: Harness, n: int) -> None:
    for _ in range(n):
        h.do("add")


def test_every_source_is_run_in_order_even_after_one_worked(h: Harness) -> None:
    sources(h, 3)
    h.do("set 0 runs 1")
    assert h.do("run").split("\n") == ["run 0", "run 1", "run 2", "worked 1"]
    assert h.do("run").split("\n")[-1] == "worked 0"


def test_without_sources(h: Harness) -> None:
    assert h.do("run") == "worked 0"
    h.do("clock 10")
    assert h.do("wait 20").split("\n") == ["timer 20", "halt"]


@pytest.mark.parametrize("kind", [1, 2])
def test_a_nested_call_does_nothing(h: Harness, kind: int) -> None:
    sources(h, 2)
    h.do("set 0 nest", kind)
    nested = "nested 0" if kind == 1 else "nested wait"
    assert h.do("run").split("\n") == ["run 0", nested, "run 1", "worked 0"]


def test_work_done_means_no_sleep(h: Harness) -> None:
    sources(h, 2)
    h.do("set 1 runs 1")
    assert h.do("wait", NEVER).split("\n") == ["run 0", "run 1"]


def test_sleeping_arms_every_source_once_and_runs_them_after(h: Harness) -> None:
    sources(h, 2)
    h.do("set 0 arms 0")
    h.do("set 1 arms 0")
    expected = ["run 0", "run 1", "arm 0", "arm 1", f"timer {NEVER}", "halt", "run 0", "run 1"]
    assert h.do("wait", NEVER).split("\n") == expected


def test_work_found_while_arming_is_done_instead_of_sleeping(h: Harness) -> None:
    sources(h, 2)
    h.do("set 0 arms 1")
    h.do("set 1 arms 0")
    assert h.do("wait", NEVER).split("\n") == ["run 0", "run 1", "arm 0", "arm 1", "run 0", "run 1"]


@pytest.mark.parametrize(
    ("callers", "first", "second", "timer"),
    [
        (1000, 500, 700, 500),
        (1000, 700, 500, 500),
        (300, 500, 700, 300),
        (NEVER, NEVER, 700, 700),
        (NEVER, NEVER, NEVER, NEVER),
    ],
)
def test_the_earliest_deadline_is_the_timer_s(h: Harness, callers: int, first: int, second: int, timer: int) -> None:
    sources(h, 2)
    h.do("set 0 deadline", first)
    h.do("set 1 deadline", second)
    h.do("clock 100")
    lines = h.do("wait", callers).split("\n")
    assert f"timer {timer}" in lines and lines.count("halt") == 1


@pytest.mark.parametrize("deadline", [0, 99, 100])
def test_a_deadline_that_is_over_does_not_sleep(h: Harness, deadline: int) -> None:
    sources(h, 1)
    h.do("clock 100")
    assert h.do("wait", deadline).split("\n") == ["run 0", "run 0"]
    h.do("set 0 deadline", deadline)
    assert "halt" not in h.do("wait", NEVER)


@pytest.mark.parametrize(("callers", "own", "timer"), [(1000, 500, 500), (300, 500, 300), (NEVER, NEVER, NEVER)])
def test_one_source_alone(h: Harness, callers: int, own: int, timer: int) -> None:
    """It is run and armed, it sleeps until the earlier deadline, and no other source hears of it."""
    sources(h, 3)
    for source in range(3):
        h.do("set", source, "deadline", own)
        h.do("set", source, "arms 0")
    h.do("clock 100")
    assert h.do("one 1", callers).split("\n") == ["run 1", "arm 1", f"timer {timer}", "halt", "run 1"]
    h.do("set 1 arms 1")
    assert h.do("one 1", callers).split("\n") == ["run 1", "arm 1", "run 1"]
    h.do("set 1 runs 1")
    assert h.do("one 1", callers).split("\n") == ["run 1"]
    h.do("clock 2000")
    assert callers == NEVER or "halt" not in h.do("one 1", callers)


def test_basic_sources_beside_one(h: Harness) -> None:
    """They are run, armed and asked for their deadlines in its wait, and know that it is one; nothing runs in them."""
    sources(h, 4)
    h.do("set 0 basic 1")
    h.do("set 0 arms 0")
    h.do("set 1 deadline 300")
    h.do("set 2 deadline 500")
    h.do("set 3 basic 1")
    h.do("set 3 deadline 400")
    h.do("clock 100")
    passed = ["run 0", "run 2", "run 3"]
    assert h.do("one 2", NEVER).split("\n") == [*passed, "arm 0", "timer 400", "halt", *passed]
    h.do("set 3 nest 3")
    h.do("set 3 runs 1")
    assert h.do("one 2", NEVER).split("\n") == [*passed, "alone 1"]
    assert "alone 0" in h.do("run").split("\n")
    h.do("set 3 nest 2")
    assert h.do("one 2", 100).split("\n") == [*passed, "nested wait", "arm 0", *passed, "nested wait"]
