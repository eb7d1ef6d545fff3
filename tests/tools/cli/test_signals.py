# SPDX-License-Identifier: MIT
"""tools/floe/cli/signals.py"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from floe.cli import signals


@pytest.fixture(autouse=True, params=[signal.SIGTERM, signal.SIGHUP])
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    before = signal.getsignal(request.param)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_is_as_ctrl_c_and_then_what_it_was(number: int) -> None:
    def before(number: int, frame: object) -> None:
        raise AssertionError

    signal.signal(number, before)
    with pytest.raises(KeyboardInterrupt), signals.as_ctrl_c():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_what_is_ignored_stays_so(number: int) -> None:
    signal.signal(number, signal.SIG_IGN)
    with signals.as_ctrl_c():
        signal.raise_signal(number)
    assert signal.getsignal(number) is signal.SIG_IGN
