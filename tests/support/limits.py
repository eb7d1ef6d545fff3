# SPDX-License-Identifier: MIT
"""A pytest plugin: no test hangs, and none hangs the run. Each phase of a test (fixtures, the test, their ends) has a limit
of time, after which it fails by its name, with the place where it stood, and the next test begins.

What waits while the failure goes its way, as the end of a `with Popen()` does, is interrupted again. A place that no
signal reaches (a call in C that does not return) is left to pytest's own faulthandler_timeout, which ends the run.

Signals that a shell or nohup has this process ignore reach the programs that tests start all the same.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

LIMIT_S = 600.0
AGAIN_S = 10.0  # for each wait on the way out
INHERITED = (signal.SIGINT, signal.SIGHUP)


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker, and pass on no ignored signal: a handler of ours is the default in a program that is started."""
    config.addinivalue_line("markers", "limit(seconds): what each phase of the test may take")
    for number in INHERITED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    """As before, for this process alone."""


@contextmanager
def _limited(item: pytest.Item, phase: str) -> Iterator[None]:
    marker = item.get_closest_marker("limit")
    seconds = float(marker.args[0]) if marker else LIMIT_S

    def over(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"{item.nodeid}: its {phase} took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Any:
    """Its fixtures."""
    with _limited(item, "set-up"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """The test."""
    with _limited(item, "run"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Any:
    """The ends of its fixtures."""
    with _limited(item, "clean-up"):
        return (yield)
