# SPDX-License-Identifier: MIT
# asyncio.TaskGroup: tasks that end together. What fails in them comes out as one ExceptionGroup, a built-in name then,
# as in CPython.

import builtins

from . import core
from .event import Event


class ExceptionGroup(Exception):
    def __init__(self, message, exceptions):
        super().__init__(message, exceptions)
        self.message = message
        self.exceptions = tuple(exceptions)

    def __str__(self):
        return "%s (%d sub-exception%s)" % (self.message, len(self.exceptions), "s" * (len(self.exceptions) > 1))

    def derive(self, exceptions):
        return ExceptionGroup(self.message, exceptions)

    def split(self, condition):
        """(group, group): of what is of a type, of one of several, or for what a function says so; and of the rest."""
        if isinstance(condition, (type, tuple)):
            types = condition
            condition = lambda e: isinstance(e, types)  # noqa: E731
        if condition(self):
            return self, None
        some, rest = [], []
        for e in self.exceptions:
            if isinstance(e, ExceptionGroup):
                one, other = e.split(condition)
            else:
                one, other = (e, None) if condition(e) else (None, e)
            some += [] if one is None else [one]
            rest += [] if other is None else [other]
        return self.derive(some) if some else None, self.derive(rest) if rest else None

    def subgroup(self, condition):
        return self.split(condition)[0]


builtins.ExceptionGroup = ExceptionGroup


class _Member:
    """A task's coroutine, whose group hears how it ends, even of one that is cancelled before it starts."""

    def __init__(self, group, coro):
        if not hasattr(coro, "send"):
            raise TypeError("coroutine expected")  # as asyncio.sleep() is none
        self._group = group
        self._coro = coro
        self.task = core.create_task(self)

    def send(self, value):
        try:
            return self._coro.send(value)
        except BaseException as e:
            self._group._ended(self, e)
            raise

    def throw(self, error):
        try:
            return self._coro.throw(error)
        except BaseException as e:
            self._group._ended(self, e)
            raise


def _taken(task, error):
    """The state of a task whose error is no news for the loop."""


class TaskGroup:
    def __init__(self):
        self._parent = None
        self._running = []
        self._errors = []
        self._aborting = False
        self._cancels_parent = False
        self._inside = False
        self._idle = Event()

    async def __aenter__(self):
        if self._parent is not None:
            raise RuntimeError("TaskGroup has already been entered")
        self._parent = core.current_task()
        self._inside = True
        return self

    def create_task(self, coro, *, name=None, context=None):
        if self._aborting or not (self._inside or self._running):
            coro.close()
            raise RuntimeError("TaskGroup is not running")
        self._running.append(member := _Member(self, coro))
        if name is not None and hasattr(member.task, "set_name"):
            member.task.set_name(name)
        return member.task

    def _ended(self, member, error):
        if member not in self._running:
            return  # the loop asks once more
        self._running.remove(member)
        if not self._running:
            self._idle.set()
        if isinstance(error, StopIteration) or not isinstance(error, Exception):
            return
        if member.task.state is True:
            member.task.state = _taken
        self._errors.append(error)
        self._abort()
        if self._inside and not self._cancels_parent:
            self._cancels_parent = True
            awaited = self._parent
            while isinstance(awaited.data, core.Task):
                awaited = awaited.data
            if awaited is member.task:
                core.create_task(self._cancel_parent())  # cancelled now, it would still get the task's own error
            else:
                self._parent.cancel()

    async def _cancel_parent(self):
        if self._inside:
            self._parent.cancel()

    def _abort(self):
        if not self._aborting:
            self._aborting = True
            for member in self._running:
                member.task.cancel()

    async def __aexit__(self, kind, error, traceback):
        self._inside = False
        cancelled = kind is not None and issubclass(kind, core.CancelledError)
        outside = error if cancelled and not self._cancels_parent else None
        if kind is not None:
            self._abort()
        while self._running:
            self._idle.clear()
            try:
                await self._idle.wait()
            except core.CancelledError as e:
                outside = outside if self._aborting else e
                self._abort()
        if error is not None and not cancelled:
            if not isinstance(error, Exception):
                return  # sys.exit() and the like come out themselves
            self._errors.append(error)
        if self._errors:
            raise ExceptionGroup("unhandled errors in a TaskGroup", self._errors)
        if outside is not None:
            raise outside
