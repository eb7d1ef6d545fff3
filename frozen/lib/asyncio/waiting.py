# SPDX-License-Identifier: MIT
# asyncio.wait() and as_completed(): wait for some of several tasks, and leave the rest alone.

from . import core
from .event import Event
from .funcs import wait_for

FIRST_COMPLETED = "FIRST_COMPLETED"
FIRST_EXCEPTION = "FIRST_EXCEPTION"
ALL_COMPLETED = "ALL_COMPLETED"


class _Watch:
    """Hears of each of some tasks that it has ended: as the task's one listener, or beside those that await it."""

    def __init__(self, tasks, timeout):
        self.ended = []
        self.pending = tasks
        self._event = Event()
        self._until = None if timeout is None else core.ticks_add(core.ticks(), int(timeout * 1000))
        for task in list(tasks):
            if task.done():
                self._end(task)
            elif task.state is True:
                task.state = self._called
            elif callable(task.state):
                self.close()
                raise RuntimeError("can't wait: wait() or gather() of another task has this one")
            else:
                core.create_task(self._follow(task))

    def _called(self, task, error):
        self._end(task)

    async def _follow(self, task):
        try:
            await task
        except (Exception, core.CancelledError):
            pass  # who else awaits it gets it
        self._end(task)

    def _end(self, task):
        if task in self.pending:
            self.pending.remove(task)
            self.ended.append(task)
            self._event.set()

    async def next(self):
        """Until one more has ended. False: the time is over."""
        self._event.clear()
        if self._until is None:
            return await self._event.wait()
        left = core.ticks_diff(self._until, core.ticks())
        if left <= 0:
            return False
        try:
            return await wait_for(self._event.wait(), left, core.sleep_ms)
        except core.TimeoutError:
            return False

    def close(self):
        for task in self.pending:
            if callable(task.state):
                task.state = True


def _failed(task):
    return not isinstance(task.data, (StopIteration, core.CancelledError))


async def wait(aws, *, timeout=None, return_when=ALL_COMPLETED):
    """(done, pending), each a set."""
    tasks = list(set(aws))
    if not tasks:
        raise ValueError("Set of Tasks/Futures is empty.")
    if return_when not in (FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED):
        raise ValueError("Invalid return_when value: " + str(return_when))
    if not all(isinstance(task, core.Task) for task in tasks):
        raise TypeError("Passing coroutines is forbidden, use tasks explicitly.")
    watch = _Watch(tasks, timeout)
    try:
        while watch.pending:
            if watch.ended and return_when == FIRST_COMPLETED:
                break
            if return_when == FIRST_EXCEPTION and any(_failed(task) for task in watch.ended):
                break
            if not await watch.next():
                break
    finally:
        watch.close()
    return set(watch.ended), set(watch.pending)


async def shield(aw):
    """Its result; who is cancelled meanwhile leaves it running."""
    task = core._promote_to_task(aw)
    watch = _Watch([task], None)
    try:
        if watch.pending:
            await watch.next()
    finally:
        watch.close()
    return await task


def as_completed(aws, *, timeout=None):
    """Awaitables, each of which gives the result of the next task that ends."""
    watch = _Watch([core._promote_to_task(aw) for aw in set(aws)], timeout)

    async def following():
        while not watch.ended:
            if not await watch.next():
                raise core.TimeoutError
        return await watch.ended.pop(0)

    for _ in range(len(watch.pending) + len(watch.ended)):
        yield following()
