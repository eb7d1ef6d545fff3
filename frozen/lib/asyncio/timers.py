# SPDX-License-Identifier: MIT
# A loop's call_soon(), call_later(), call_at(): a function to be called by it, now or some time later.

from . import core


class TimerHandle:
    def __init__(self, when, callback, args):
        self._when = when
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._task = core.create_task(self._run())

    async def _run(self):
        if self._when is not None:
            await core.sleep_ms(core.ticks_diff(round(self._when * 1000), core.ticks()))
        self._callback(*self._args)

    def when(self):
        return self._when

    def cancel(self):
        self._cancelled = True
        if self._task is not core.cur_task:
            self._task.cancel()

    def cancelled(self):
        return self._cancelled


def call_at(when, callback, *args, context=None):
    return TimerHandle(when, callback, args)


def call_later(delay, callback, *args, context=None):
    return TimerHandle(core.ticks() / 1000 + delay, callback, args)


def call_soon(callback, *args, context=None):
    return TimerHandle(None, callback, args)


core.Loop.call_at = call_at
core.Loop.call_later = call_later
core.Loop.call_soon = call_soon
