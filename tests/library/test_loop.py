# SPDX-License-Identifier: MIT
"""frozen/lib/appliance/loop.py: when its timers come, by a clock and a poll object that stand here."""

from __future__ import annotations

import importlib.util
import select
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.fixtures import REPO

FILE = REPO / "frozen" / "lib" / "appliance" / "loop.py"


class Clock:
    """Time goes on while the loop waits, and at no other time."""

    def __init__(self) -> None:
        self.ms = 0

    def ipoll(self, wait: int) -> list[tuple[object, int]]:
        self.ms += wait
        return []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "ticks_ms", lambda: made.ms, raising=False)
    monkeypatch.setattr(time, "ticks_add", lambda a, b: a + b, raising=False)
    monkeypatch.setattr(time, "ticks_diff", lambda a, b: a - b, raising=False)
    monkeypatch.setattr(select, "poll", lambda: made)
    return made


@pytest.fixture
def module(clock: Clock) -> ModuleType:
    spec = importlib.util.spec_from_file_location("loop", FILE)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


class Calls:
    """A loop that runs until so much time has gone, and when what was called."""

    def __init__(self, module: ModuleType, clock: Clock) -> None:
        self.clock = clock
        self.at: list[int] = []
        self.reported: list[BaseException] = []
        self.loop: Any = module.Loop(self.reported.append)

    def note(self) -> None:
        self.at.append(self.clock.ms)

    def run(self, ms: int) -> list[int]:
        self.loop.call_later(ms, lambda: setattr(self.loop, "stopped", True))
        self.loop.run()
        return self.at


@pytest.fixture
def calls(module: ModuleType, clock: Clock) -> Calls:
    return Calls(module, clock)


def test_once_and_again_and_again(calls: Calls) -> None:
    calls.loop.call_later(70, calls.note)
    calls.loop.call_later(100, calls.note, 200)
    assert calls.run(800) == [70, 100, 300, 500, 700]


def test_one_that_is_cancelled_does_not_come(calls: Calls) -> None:
    timer = calls.loop.call_later(100, calls.note, 100)
    calls.loop.call_later(250, timer.cancel)
    assert calls.run(800) == [100, 200]


def test_one_that_says_when_it_comes_next(calls: Calls) -> None:
    waits = iter([10, 2000, 30])
    timer: SimpleNamespace

    def call() -> None:
        calls.note()
        timer.again(next(waits, 5000))

    timer = calls.loop.call_later(0, call, 100)
    assert calls.run(3000) == [0, 10, 2010, 2040]


def test_one_that_is_put_off_as_it_is_due(calls: Calls) -> None:
    """By another one of the same moment, whichever comes first."""

    def call(other: int) -> None:
        calls.note()
        timers[other].again(400)

    timers = [calls.loop.call_later(100, lambda: call(1)), calls.loop.call_later(100, lambda: call(0))]
    assert calls.run(300) == [100]


def test_one_that_is_told_to_come_earlier(calls: Calls) -> None:
    timer = calls.loop.call_later(900, calls.note, 900)
    calls.loop.call_later(50, lambda: timer.again(5))
    assert calls.run(1000) == [55, 955]


@pytest.mark.parametrize("error", [MemoryError, OSError])
def test_one_that_fails_comes_again_with_its_period(calls: Calls, error: Callable[[], Exception]) -> None:
    def fail() -> None:
        calls.note()
        raise error()

    calls.loop.call_later(0, fail, 300)
    assert calls.run(700) == [0, 300, 600]
    assert len(calls.reported) == 3
