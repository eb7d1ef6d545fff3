# SPDX-License-Identifier: MIT
# What a task of CPython's has beside done() and cancel(). A task's coroutine stands in a _Body, whose methods are the
# task's too (port/patches/micropython/asyncio-task-methods.patch); create_task() of the whole package makes them.

from . import core

_create = core.create_task
_number = 0


class InvalidStateError(Exception):
    pass


async def _call(callback, task):
    callback(task)


class _Body:
    def __init__(self, coro, name):
        self._coro = coro
        self._name = name
        self._callbacks = []
        self._error = None  # what it ended with
        self._task = _create(self)

    def __repr__(self):
        return repr(self._coro)

    # ---- what the loop calls; nothing is allocated for it ----

    def send(self, value):
        try:
            return self._coro.send(value)
        except BaseException as e:
            self._end(e)
            raise

    def throw(self, error):
        if self._error is not None:  # the loop asks who wants an error that nobody took
            self._task.data = self._error
            raise self._error
        try:
            return self._coro.throw(error)
        except BaseException as e:
            self._end(e)
            raise

    def _end(self, error):
        self._error = error
        for callback in self._callbacks:
            _create(_call(callback, self._task))

    # ---- what the task has ----

    def _taken(self):
        """The error it ended with, which somebody has now."""
        if not self._task.done():
            raise InvalidStateError("Result is not set.")
        if self._task.state is None:
            self._task.state = False
        if isinstance(self._error, core.CancelledError):
            raise self._error
        return self._error

    def result(self):
        error = self._taken()
        if isinstance(error, StopIteration):
            return error.value
        raise error

    def exception(self):
        error = self._taken()
        return None if isinstance(error, StopIteration) else error

    def cancelled(self):
        return isinstance(self._error, core.CancelledError)

    def add_done_callback(self, callback, *, context=None):
        if self._task.done():
            _create(_call(callback, self._task))
        else:
            self._callbacks.append(callback)

    def remove_done_callback(self, callback):
        kept = [one for one in self._callbacks if one != callback]
        removed = len(self._callbacks) - len(kept)
        self._callbacks = kept
        return removed

    def get_name(self):
        return self._name

    def set_name(self, name):
        self._name = str(name)

    def get_coro(self):
        return self._coro


def create_task(coro, *, name=None, context=None):
    global _number  # noqa: PLW0603 -- of the next task without a name
    if isinstance(coro, core.Task) or not hasattr(coro, "send"):
        raise TypeError("coroutine expected")
    _number += 1
    return _Body(coro, "Task-%d" % _number if name is None else str(name))._task


def ensure_future(aw, *, loop=None):
    return core._promote_to_task(aw)


core.create_task = create_task
core.Loop.create_task = create_task
