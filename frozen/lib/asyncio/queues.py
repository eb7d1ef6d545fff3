# SPDX-License-Identifier: MIT
# asyncio's queues: first in, first out; by priority; last in, first out.

import uheapq

from .core import CancelledError
from .event import Event


class QueueEmpty(Exception):
    pass


class QueueFull(Exception):
    pass


async def _wait(waiting, useless):
    """Until somebody wakes us. Who is cancelled after it was woken wakes the next, unless that is useless."""
    event = Event()
    waiting.append(event)
    try:
        await event.wait()
    except CancelledError:
        if event in waiting:
            waiting.remove(event)
        elif not useless():
            _wake(waiting)
        raise


def _wake(waiting):
    if waiting:
        waiting.pop(0).set()


class Queue:
    def __init__(self, maxsize=0):
        self.maxsize = maxsize
        self._items = []
        self._getters = []
        self._putters = []
        self._unfinished = 0
        self._finished = Event()
        self._finished.set()

    def _put(self, item):
        self._items.append(item)

    def _get(self):
        return self._items.pop(0)

    def qsize(self):
        return len(self._items)

    def empty(self):
        return not self._items

    def full(self):
        return 0 < self.maxsize <= len(self._items)

    async def put(self, item):
        while self.full():
            await _wait(self._putters, self.full)
        self.put_nowait(item)

    def put_nowait(self, item):
        if self.full():
            raise QueueFull
        self._put(item)
        self._unfinished += 1
        self._finished.clear()
        _wake(self._getters)

    async def get(self):
        while self.empty():
            await _wait(self._getters, self.empty)
        return self.get_nowait()

    def get_nowait(self):
        if self.empty():
            raise QueueEmpty
        item = self._get()
        _wake(self._putters)
        return item

    def task_done(self):
        if self._unfinished <= 0:
            raise ValueError("task_done() called too many times")
        self._unfinished -= 1
        if self._unfinished == 0:
            self._finished.set()

    async def join(self):
        await self._finished.wait()


class PriorityQueue(Queue):
    """The least comes first."""

    def _put(self, item):
        uheapq.heappush(self._items, item)

    def _get(self):
        return uheapq.heappop(self._items)


class LifoQueue(Queue):
    def _get(self):
        return self._items.pop()
