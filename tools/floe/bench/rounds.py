# SPDX-License-Identifier: MIT
"""Contenders take turns, A B A B, so that what the machine does meanwhile meets all alike. Each round and the whole
have an end; what was measured before it, or before Ctrl-C, is kept, and no process that a round has started outlives
it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

from floe.bench import surroundings
from floe.bench.experiment import Contender, Experiment, Reading, RoundOver, Turn
from floe.bench.surroundings import Meanwhile
from floe.errors import FloeError

# What this machine and its programs raise, beside errors in words: it fails a round, and not the run.
FAULTS = (OSError, EOFError, subprocess.SubprocessError)
_FAILURES = 2  # of one contender, after which it measures no more
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 5.0  # for a round that watches its time itself, before it is cut off


@dataclass(frozen=True)
class Taken:
    """One round of one contender, from 0 on. failed: why it gave less than it should, "" if it did not."""

    contender: str
    round: int
    readings: tuple[Reading, ...]
    meanwhile: Meanwhile
    failed: str = ""


@dataclass
class Result:
    """ended: "" when all rounds were taken, "time" when there was none for more of them, "interrupted" by a signal."""

    experiment: Experiment
    taken: list[Taken] = field(default_factory=list)
    ended: str = ""
    seconds: float = 0.0

    @property
    def failures(self) -> list[Taken]:
        return [taken for taken in self.taken if taken.failed]


@dataclass(frozen=True)
class Progress:
    """Before a round. left_s: seconds until the experiment ends, by the pace so far, and at most its time."""

    experiment: str
    contender: str
    round: int
    rounds: int
    left_s: float


class CutOff(KeyboardInterrupt):
    """The time of a round is over. A KeyboardInterrupt, since event loops and their tasks let these through and nobody
    takes them for a failure of his own."""


def run(experiment: Experiment, *, quick: bool, tell: Callable[[Progress], None] = lambda progress: None) -> Result:
    """Measure, from the main thread. Ctrl-C ends it, and `ended` says so; a contender's FloeError or fault is in its
    round."""
    assert threading.current_thread() is threading.main_thread(), "signals and VMs belong to the main thread"
    result = Result(experiment)
    start = time.monotonic()
    turns = _turns(experiment)
    try:
        for number, contender in turns:
            failed = [taken for taken in result.failures if taken.contender == contender.name]
            if len(failed) >= _FAILURES:
                continue
            left = start + experiment.seconds - time.monotonic()
            if left <= _needed(result, contender):
                result.ended = "time"
                break
            done = len(result.taken)
            pace = (
                (time.monotonic() - start) / done * (len(turns) - done) if done >= len(experiment.contenders) else left
            )
            tell(Progress(experiment.name, contender.name, number, experiment.rounds, min(left, pace)))
            _take(result, contender, number, quick=quick, limit_s=min(left, contender.limit_s))
            if result.ended:
                break
    except KeyboardInterrupt:
        result.ended = "interrupted"
    result.seconds = round(time.monotonic() - start, 1)
    return result


def _turns(experiment: Experiment) -> list[tuple[int, Contender]]:
    return [(number, contender) for number in range(experiment.rounds) for contender in experiment.contenders]


def _needed(result: Result, contender: Contender) -> float:
    """Seconds that its last round took; a round that would be cut off is not begun."""
    mine = [taken.meanwhile.seconds for taken in result.taken if taken.contender == contender.name]
    return mine[-1] if mine else 0.0


def said_by(error: BaseException) -> str:
    """Why a round failed, as a part of a sentence."""
    if isinstance(error, FloeError):
        return error.message
    return str(error) if isinstance(error, CutOff) else f"{type(error).__name__}: {error}"


def _take(result: Result, contender: Contender, number: int, *, quick: bool, limit_s: float) -> None:
    """One round, which stands in the result even where it is interrupted. Where others before it have left it less than
    its own time, and that is over, its contender has not failed: the experiment has ended."""
    short = bool(result.taken) and limit_s < contender.limit_s
    turn = Turn(number, quick, time.monotonic() + limit_s)
    watch, before = surroundings.Watch(), set(surroundings.descendants())
    readings: list[Reading] = []
    failed = ""
    try:
        with _alarm(limit_s), contextlib.ExitStack() as closing:
            measuring = contender.measure(turn)
            closing.callback(measuring.close)  # type: ignore[attr-defined]  # each is a generator, as its module says
            for reading in measuring:
                readings.append(reading)
    except (CutOff, FloeError, *FAULTS) as e:
        # A wait that was given all of the time says in words of its own that it is over.
        if short and (isinstance(e, RoundOver) or time.monotonic() >= turn.end):
            result.ended = "time"
        else:
            failed = said_by(e)
    except KeyboardInterrupt:
        failed = "interrupted"
        raise
    finally:
        result.taken.append(Taken(contender.name, number, tuple(readings), watch.look(), failed))
        _end_those_left(before)


@contextlib.contextmanager
def _alarm(limit_s: float) -> Iterator[None]:
    """Raise CutOff here when they are over, and some more."""

    def over(number: int, frame: FrameType | None) -> None:
        raise CutOff(f"cut off after {limit_s:.0f} s")

    start = time.monotonic()
    before = signal.signal(signal.SIGALRM, over)
    left, again = signal.setitimer(signal.ITIMER_REAL, limit_s + _GRACE_S)  # of an alarm of our caller's
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - start)), again)


def _end_those_left(before: set[int]) -> None:
    """Kill what a round has started and not ended, which it has where it was cut off in the midst of ending it."""
    for pid in set(surroundings.descendants()) - before:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # a child of a child's
            os.waitpid(pid, 0)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a measurement as Ctrl-C does, whoever started us: with a report, and nothing left. Those
    that come after the first one, as of an impatient user, find that under way and do not break it off; it is short."""

    def end(number: int, frame: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
