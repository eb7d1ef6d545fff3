# SPDX-License-Identifier: MIT
# asyncio's semaphores and conditions; its Lock and Event are MicroPython's.

from .core import CancelledError
from .event import Event
from .lock import Lock


class Semaphore:
    def __init__(self, value=1):
        if value < 0:
            raise ValueError("Semaphore initial value must be >= 0")
        self._value = value
        self._waiting = []

    def locked(self):
        return self._value == 0 or bool(self._waiting)

    async def acquire(self):
        if not self.locked():
            self._value -= 1
            return True
        event = Event()
        self._waiting.append(event)
        try:
            await event.wait()  # who sets it hands its own place on
        except CancelledError:
            if event in self._waiting:
                self._waiting.remove(event)
            else:
                self._hand_on()
            raise
        return True

    def _hand_on(self):
        if self._waiting:
            self._waiting.pop(0).set()
        else:
            self._value += 1

    def release(self):
        self._hand_on()

    async def __aenter__(self):
        await self.acquire()

    async def __aexit__(self, *error):
        self.release()


class BoundedSemaphore(Semaphore):
    def __init__(self, value=1):
        super().__init__(value)
        self._bound = value

    def release(self):
        if self._value >= self._bound:
            raise ValueError("BoundedSemaphore released too many times")
        super().release()


class Condition:
    def __init__(self, lock=None):
        self._lock = lock = Lock() if lock is None else lock
        self._waiting = []
        self.locked = lock.locked
        self.acquire = lock.acquire
        self.release = lock.release

    async def __aenter__(self):
        await self.acquire()

    async def __aexit__(self, *error):
        self.release()

    async def wait(self):
        if not self.locked():
            raise RuntimeError("cannot wait on un-acquired lock")
        event = Event()
        self._waiting.append(event)
        self.release()
        cancelled = None
        try:
            await event.wait()
        except CancelledError as e:
            cancelled = e
        while True:  # whatever happens, who waited has the lock again
            try:
                await self.acquire()
                break
            except CancelledError as e:
                cancelled = e
        if cancelled is None:
            return True
        if event in self._waiting:
            self._waiting.remove(event)
        else:
            self.notify()  # it was for somebody who can use it
        raise cancelled

    async def wait_for(self, predicate):
        while not (said := predicate()):
            await self.wait()
        return said

    def notify(self, n=1):
        if not self.locked():
            raise RuntimeError("cannot notify on un-acquired lock")
        for event in self._waiting[:n]:
            self._waiting.remove(event)
            event.set()

    def notify_all(self):
        self.notify(len(self._waiting))
