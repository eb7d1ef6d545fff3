# SPDX-License-Identifier: MIT
# asyncio.timeout(): what is awaited inside is cancelled when the time is over, and TimeoutError comes out, which is a
# built-in name then, as in CPython.

import builtins

from . import core

builtins.TimeoutError = core.TimeoutError


class Timeout:
    def __init__(self, when):
        self._when = when  # of the loop's clock, in seconds; None: never
        self._task = None
        self._watch = None
        self._expired = False

    def when(self):
        return self._when

    def expired(self):
        return self._expired

    def reschedule(self, when):
        self._when = when
        self._stop()
        if when is not None and self._task is not None:
            left = core.ticks_diff(round(when * 1000), core.ticks())
            self._watch = core.create_task(self._run(max(0, left)))

    def _stop(self):
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _run(self, left):
        await core.sleep_ms(left)
        self._expired = True
        self._watch = None
        self._task.cancel()

    async def __aenter__(self):
        if self._task is not None:
            raise RuntimeError("Timeout has already been entered")
        self._task = core.current_task()
        self.reschedule(self._when)
        return self

    async def __aexit__(self, kind, error, traceback):
        self._stop()
        if self._expired and kind is not None and issubclass(kind, core.CancelledError):
            raise core.TimeoutError


def timeout(delay):
    return Timeout(None if delay is None else core.ticks() / 1000 + delay)


timeout_at = Timeout
