# SPDX-License-Identifier: MIT
# Queues between VMs. What was put and not yet got lies in a pipe, 64 KiB of each VM's at most: put() waits where that
# is full, as nobody else here could go on with it later.

from queue import Empty, Full
from time import ticks_diff, ticks_ms

import vm

from .connection import Pipe, milliseconds
from .synchronize import Semaphore
from .values import dumps, loads


class SimpleQueue:
    def __init__(self):
        self._reader, self._writer = Pipe(False)
        self._reading, self._writing = Semaphore(1), Semaphore(1)

    def empty(self):
        return not self._reader.poll()

    def get(self):
        with self._reading:
            message = self._reader.recv_bytes()
        return loads(message)

    def put(self, obj):
        message = dumps(obj)
        with self._writing:
            self._writer.send_bytes(message)

    def close(self):
        self._reader.close()
        self._writer.close()


class Queue(SimpleQueue):
    def __init__(self, maxsize=0):
        super().__init__()
        self._room = Semaphore(maxsize) if maxsize > 0 else None
        self._closed = False

    def _check(self):
        if self._closed:
            raise ValueError("Queue " + repr(self) + " is closed")

    def put(self, obj, block=True, timeout=None):
        self._check()
        message = dumps(obj)
        if self._room is not None and not self._room.acquire(block, timeout):
            raise Full
        with self._writing:
            self._writer.send_bytes(message)

    def get(self, block=True, timeout=None):
        self._check()
        started = ticks_ms()
        ms = milliseconds(timeout) if block else 0
        if not self._reading.acquire(block, timeout):
            raise Empty
        try:
            left = None if ms is None else max(0, ms - ticks_diff(ticks_ms(), started))
            if left is not None and not self._reader.poll(left / 1000):
                raise Empty
            message = self._reader.recv_bytes()
        finally:
            self._reading.release()
        if self._room is not None:
            self._room.release()
        return loads(message)

    async def get_async(self):
        """As get(), while the other tasks of the loop go on."""
        while True:
            try:
                return self.get(False)
            except Empty:
                await vm.until_ready(self._reader.stream())

    def put_nowait(self, obj):
        self.put(obj, False)

    def get_nowait(self):
        return self.get(False)

    def full(self):
        return self._room is not None and self._room.get_value() == 0

    def close(self):
        self._closed = True

    def join_thread(self):
        """What was put is in the pipe already."""

    cancel_join_thread = join_thread
