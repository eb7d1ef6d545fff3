# SPDX-License-Identifier: MIT
# Locks and the like between VMs: a pipe in which as many bytes lie as may be taken.

import _vm
import vm

from .connection import milliseconds

_MOST = 32767


class Semaphore:
    """Made by one VM and used by all that it begets from then on."""

    def __init__(self, value=1):
        if not 0 <= value <= _MOST:
            raise ValueError("semaphore's value out of range")
        self._r, self._w = vm.pipe()
        self._ends = _vm.End(self._r), _vm.End(self._w)
        if value:
            _vm.write(self._w, bytes(value))

    def acquire(self, block=True, timeout=None):
        ms = milliseconds(timeout) if block else 0
        return _vm.read_within(self._r, 1, ms) is not None

    def release(self):
        _vm.write(self._w, b"\0")

    def get_value(self):
        return _vm.lies(self._r)

    def __enter__(self):
        return self.acquire()

    def __exit__(self, kind, value, trace):
        self.release()


class BoundedSemaphore(Semaphore):
    def __init__(self, value=1):
        super().__init__(value)
        self._most = value

    def release(self):
        if self.get_value() >= self._most:
            raise ValueError("semaphore or lock released too many times")
        super().release()


class Lock(BoundedSemaphore):
    def __init__(self):
        super().__init__(1)

    def locked(self):
        return self.get_value() == 0


class RLock:
    def __init__(self):
        self._lock = Semaphore(1)
        self._owner = 0
        self._count = 0

    def _is_mine(self):
        return self._count > 0 and self._owner == vm.getpid()  # a child has the count, but not the lock

    def acquire(self, block=True, timeout=None):
        if not self._is_mine():
            if not self._lock.acquire(block, timeout):
                return False
            self._owner = vm.getpid()
            self._count = 0
        self._count += 1
        return True

    def release(self):
        if not self._is_mine():
            raise AssertionError("attempt to release recursive lock not owned by thread")
        self._count -= 1
        if not self._count:
            self._lock.release()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, kind, value, trace):
        self.release()


class Event:
    """Set while anything lies in its pipe."""

    def __init__(self):
        self._r, self._w = vm.pipe()
        self._ends = _vm.End(self._r), _vm.End(self._w)

    def is_set(self):
        return _vm.lies(self._r) > 0

    def set(self):
        if not self.is_set():
            _vm.write(self._w, b"\0")

    def clear(self):
        while _vm.read_within(self._r, 4096, 0) is not None:
            pass

    def wait(self, timeout=None):
        return _vm.ready(self._r, milliseconds(timeout))
