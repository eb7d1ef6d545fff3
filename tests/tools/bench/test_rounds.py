# SPDX-License-Identifier: MIT
"""tools/floe/bench/rounds.py: who measures when, what an end leaves, and that no process stays."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from floe.bench import rounds, surroundings, tables
from floe.bench.experiment import Contender, Experiment, Figure, Reading, RoundOver, Turn
from floe.bench.rounds import Progress
from floe.errors import TimedOut, VmError

Measure = Callable[[Turn], Iterator[Reading]]


def steady(turn: Turn) -> Iterator[Reading]:
    yield Reading({"ms": 10.0 + turn.number})


def experiment(*measures: tuple[str, Measure], count: int = 3, seconds: float = 60, limit_s: float = 30) -> Experiment:
    contenders = tuple(Contender(name, measure, limit_s=limit_s) for name, measure in measures)
    return Experiment("x", "X", "What is measured.", (Figure("ms", "time", "ms"),), contenders, count, seconds)


def test_contenders_take_turns() -> None:
    told: list[Progress] = []
    result = rounds.run(experiment(("a", steady), ("b", steady)), quick=False, tell=told.append)
    assert [(taken.round, taken.contender) for taken in result.taken] == [
        (0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a"), (2, "b"),
    ]  # fmt: skip
    assert [(one.round, one.contender) for one in told] == [(taken.round, taken.contender) for taken in result.taken]
    assert all(0 <= one.left_s <= 60 for one in told)
    assert [reading.values for taken in result.taken for reading in taken.readings][:3:2] == [{"ms": 10}, {"ms": 11}]
    assert result.ended == ""
    assert result.failures == []


def test_a_failure_keeps_what_was_read_and_the_others_go_on() -> None:
    def fails(turn: Turn) -> Iterator[Reading]:
        yield Reading({"ms": 1.0})
        raise VmError("it broke")

    result = rounds.run(experiment(("bad", fails), ("good", steady), count=4), quick=False)
    bad = [taken for taken in result.taken if taken.contender == "bad"]
    assert [(taken.failed, len(taken.readings)) for taken in bad] == [("it broke", 1)] * 2, "after two it is given up"
    assert len([taken for taken in result.taken if taken.contender == "good"]) == 4


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        (ConnectionResetError(104, "reset"), "ConnectionResetError: [Errno 104] reset"),
        (EOFError("nothing more"), "EOFError: nothing more"),
        (subprocess.TimeoutExpired("ip", 30), "TimeoutExpired: Command 'ip' timed out after 30 seconds"),
    ],
)
def test_a_fault_of_the_machine_fails_a_round_and_not_the_run(fault: Exception, failed: str) -> None:
    def breaks(turn: Turn) -> Iterator[Reading]:
        yield Reading({"ms": 1.0})
        raise fault

    result = rounds.run(experiment(("bad", breaks), ("good", steady), count=1), quick=False)
    assert [(taken.contender, taken.failed) for taken in result.taken] == [("bad", failed), ("good", "")]


def test_a_fault_of_our_own_is_none_of_a_contender_s() -> None:
    def wrong(turn: Turn) -> Iterator[Reading]:
        yield Reading({"ms": [1.0][turn.number + 1]})

    with pytest.raises(IndexError):
        rounds.run(experiment(("a", wrong)), quick=False)


def test_a_round_that_hangs_is_cut_off_and_its_processes_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it has not ended them itself."""
    monkeypatch.setattr(rounds, "_GRACE_S", 0.2)
    started: list[subprocess.Popen[bytes]] = []

    def hangs(turn: Turn) -> Iterator[Reading]:
        yield Reading({"ms": 1.0})
        started.append(subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600; :"]))
        time.sleep(600)

    before = set(surroundings.descendants())
    result = rounds.run(experiment(("slow", hangs), ("b", steady), count=1, limit_s=2), quick=False)
    assert [taken.failed for taken in result.taken] == ["cut off after 2 s", ""]
    assert len(result.taken[0].readings) == 1
    assert set(surroundings.descendants()) <= before
    started[0].wait()


def test_a_round_that_watches_its_time_says_so_itself() -> None:
    def patient(turn: Turn) -> Iterator[Reading]:
        while turn.left():
            time.sleep(0.01)
        yield Reading({})

    result = rounds.run(experiment(("a", patient), count=1, limit_s=0.1), quick=False)
    assert result.failures[0].failed == "the round's time is over"
    with pytest.raises(RoundOver):
        Turn(0, False, time.monotonic()).left()


def says_so(turn: Turn) -> Iterator[Reading]:
    yield Reading({"ms": 1.0})
    turn.left()
    time.sleep(turn.left())
    raise VmError("the server did not answer")  # as a wait does that was given all of the time


def sees_it(turn: Turn) -> Iterator[Reading]:
    yield Reading({"ms": 1.0})
    raise RoundOver("there is no time to find it")


def is_cut_off(turn: Turn) -> Iterator[Reading]:
    yield Reading({"ms": 1.0})
    time.sleep(600)


@pytest.mark.parametrize("slow", [says_so, sees_it, is_cut_off])
def test_a_round_that_others_left_no_time_has_not_failed(slow: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has read is kept, nobody comes behind it, and who has not measured is named."""
    monkeypatch.setattr(rounds, "_GRACE_S", 0.2)
    result = rounds.run(experiment(("a", steady), ("slow", slow), ("c", steady), seconds=1.5), quick=False)
    assert [(taken.contender, taken.failed, len(taken.readings)) for taken in result.taken] == [
        ("a", "", 1), ("slow", "", 1),
    ]  # fmt: skip
    assert result.ended == "time"
    told = tables.remarks(result)
    assert told[0].startswith("There was no time for more rounds")
    assert told[1] == "Not measured, for want of time: c."


def test_one_that_had_all_the_time_there_was_and_gave_nothing_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_GRACE_S", 0.2)
    result = rounds.run(experiment(("slow", is_cut_off), ("b", steady), seconds=1), quick=False)
    assert result.failures[0].failed == "cut off after 1 s"


def test_an_error_within_the_time_is_a_failure_also_where_there_is_little_left() -> None:
    def breaks(turn: Turn) -> Iterator[Reading]:
        yield Reading({"ms": 1.0})
        raise TimedOut("it did not start in its time")

    result = rounds.run(experiment(("a", steady), ("b", breaks), count=1, seconds=25), quick=False)
    assert [taken.failed for taken in result.taken] == ["", "it did not start in its time"]


def test_no_round_begins_that_does_not_fit() -> None:
    def second(turn: Turn) -> Iterator[Reading]:
        time.sleep(1)
        yield Reading({"ms": 1000.0})

    result = rounds.run(experiment(("a", second), count=1000, seconds=2.5), quick=False)
    assert result.ended == "time"
    assert 1 <= len(result.taken) <= 2
    assert result.failures == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_what_was_measured(number: signal.Signals) -> None:
    closed = []

    def interrupted(turn: Turn) -> Iterator[Reading]:
        try:
            yield Reading({"ms": 1.0})
            if turn.number == 1:
                os.kill(os.getpid(), number)
                time.sleep(60)
        finally:
            closed.append(turn.number)

    with rounds.ended_by_signals():
        result = rounds.run(experiment(("a", interrupted)), quick=False)
    assert result.ended == "interrupted"
    assert [taken.failed for taken in result.taken] == ["", "interrupted"]
    assert [len(taken.readings) for taken in result.taken] == [1, 1]
    assert closed == [0, 1]


def test_a_second_signal_does_not_break_off_what_the_first_one_ends() -> None:
    ended = []

    def slowly(turn: Turn) -> Iterator[Reading]:
        try:
            yield Reading({"ms": 1.0})
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
            ended.append(turn.number)

    before = signal.getsignal(signal.SIGINT)
    with rounds.ended_by_signals():
        result = rounds.run(experiment(("a", slowly)), quick=False)
        os.kill(os.getpid(), signal.SIGHUP)
    assert (result.ended, ended) == ("interrupted", [0])
    assert signal.getsignal(signal.SIGINT) == before


def test_the_caller_s_alarm_is_as_before() -> None:
    handler, (left, again) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    assert left > 0, "each test has an alarm of its own"
    rounds.run(experiment(("a", steady), count=1), quick=False)
    assert signal.getsignal(signal.SIGALRM) == handler
    assert signal.getitimer(signal.ITIMER_REAL)[0] <= left
    assert signal.getitimer(signal.ITIMER_REAL)[1] == again
