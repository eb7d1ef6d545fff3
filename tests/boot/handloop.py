# SPDX-License-Identifier: MIT
"""What stands for frozen/lib/appliance/loop.py where a test says when a timer comes."""

from __future__ import annotations

from collections.abc import Callable


class Timer:
    def __init__(self, loop: Loop, call: Callable[[], None], period: int) -> None:
        self._loop, self.call, self.period, self.ms = loop, call, period, 0

    def again(self, ms: int) -> None:
        self.ms = ms
        if self not in self._loop.calls:
            self._loop.calls.append(self)

    def cancel(self) -> None:
        if self in self._loop.calls:
            self._loop.calls.remove(self)


class Loop:
    """Timers by hand."""

    def __init__(self) -> None:
        self.calls: list[Timer] = []

    def call_later(self, ms: int, call: Callable[[], None], period: int = 0) -> Timer:
        made = Timer(self, call, period)
        made.again(ms)
        return made

    def run(self) -> list[int]:
        """Call what there is; in how many milliseconds it would have been."""
        now = [(timer, timer.ms) for timer in self.calls]
        for timer, _ in now:
            if timer.period:
                timer.again(timer.period)
            else:
                timer.cancel()
            timer.call()
        return [ms for _, ms in now]
