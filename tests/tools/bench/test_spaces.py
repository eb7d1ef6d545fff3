# SPDX-License-Identifier: MIT
"""tools/floe/bench/spaces.py: what ends a measurement leaves no namespace. Taps and wires are those of test_running.py
and test_net.py."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from floe.bench import spaces


class Ended(BaseException):
    """What a signal raises here."""


@contextmanager
def raising() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise Ended

    before = {number: signal.signal(number, end) for number in (signal.SIGALRM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGINT])
def test_a_signal_in_the_midst_of_removing_comes_behind_it(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []

    def run(words: list[str], **how: Any) -> None:
        os.kill(os.getpid(), number)
        removed.append(words[-1])

    monkeypatch.setattr(subprocess, "run", run)
    with raising(), pytest.raises(Ended):
        spaces._forget(spaces.Space("floe-1-a", "f1a"))
    assert removed == ["floe-1-a", "f1a"]


def test_a_namespace_that_a_signal_ends_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    if why := spaces.why_none():
        pytest.skip(f"SKIP: {why}")
    real, name = subprocess.run, ""

    def run(words: list[str], **how: Any) -> Any:
        if "del" in words:
            os.kill(os.getpid(), signal.SIGINT)
        return real(words, **how)

    with raising(), pytest.raises(Ended), spaces.spaces("end") as (space,):
        name = space.name
        assert Path(f"/run/netns/{name}").exists()
        monkeypatch.setattr(subprocess, "run", run)
    assert name and not Path(f"/run/netns/{name}").exists()


def test_a_call_does_not_keep_a_process_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter waits for threads at its end, but not for daemons."""
    monkeypatch.setattr(spaces.ctypes, "CDLL", lambda *_, **__: type("C", (), {"setns": lambda *_: 0}))
    monkeypatch.setattr(spaces, "Path", lambda _: Path(os.devnull))
    assert spaces.Space("floe-1-a", "f1a").call(lambda: threading.current_thread().daemon)
