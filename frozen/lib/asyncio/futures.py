# SPDX-License-Identifier: MIT
# asyncio.Future: a result that somebody else will set.

from . import core
from .event import Event
from .tasks import InvalidStateError, _call


class Future:
    def __init__(self, *, loop=None):
        self._ended = Event()
        self._error = None
        self._result = None
        self._callbacks = []

    def __iter__(self):
        try:
            yield from self._ended.wait()
        except core.CancelledError:
            self.cancel()
            raise
        return self.result()

    __await__ = __iter__

    def _end(self, result, error):
        if self.done():
            raise InvalidStateError("invalid state")
        self._result = result
        self._error = error
        self._ended.set()
        for callback in self._callbacks:
            core.create_task(_call(callback, self))

    def done(self):
        return self._ended.is_set()

    def set_result(self, result):
        self._end(result, None)

    def set_exception(self, exception):
        self._end(None, exception() if isinstance(exception, type) else exception)

    def cancel(self, msg=None):
        if self.done():
            return False
        self._end(None, core.CancelledError())
        return True

    def cancelled(self):
        return isinstance(self._error, core.CancelledError)

    def exception(self):
        if not self.done():
            raise InvalidStateError("Result is not set.")
        if self.cancelled():
            raise self._error
        return self._error

    def result(self):
        if self.exception() is not None:
            raise self._error
        return self._result

    def add_done_callback(self, callback, *, context=None):
        if self.done():
            core.create_task(_call(callback, self))
        else:
            self._callbacks.append(callback)

    def remove_done_callback(self, callback):
        kept = [one for one in self._callbacks if one != callback]
        removed = len(self._callbacks) - len(kept)
        self._callbacks = kept
        return removed


async def _awaited(aw):
    return await aw


def _promote(aw):
    if isinstance(aw, core.Task):
        return aw
    return core.create_task(aw if hasattr(aw, "send") else _awaited(aw))


core._promote_to_task = _promote
core.Loop.create_future = Future
