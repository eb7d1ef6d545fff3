# SPDX-License-Identifier: MIT
"""CPython's asyncio over MicroPython's, which alone is in an image that asks for no more than it has."""

from .core import *
from .core import Loop, ticks

__version__ = (3, 0, 0)

_attrs = {
    "wait_for": "funcs",
    "wait_for_ms": "funcs",
    "gather": "funcs",
    "Event": "event",
    "ThreadSafeFlag": "event",
    "Lock": "lock",
    "open_connection": "stream",
    "start_server": "stream",
    "StreamReader": "stream",
    "StreamWriter": "stream",
    "Queue": "queues",
    "PriorityQueue": "queues",
    "LifoQueue": "queues",
    "QueueEmpty": "queues",
    "QueueFull": "queues",
    "Semaphore": "locks",
    "BoundedSemaphore": "locks",
    "Condition": "locks",
    "timeout": "timeouts",
    "timeout_at": "timeouts",
    "Timeout": "timeouts",
    "TaskGroup": "taskgroups",
    "ExceptionGroup": "taskgroups",
    "wait": "waiting",
    "as_completed": "waiting",
    "FIRST_COMPLETED": "waiting",
    "FIRST_EXCEPTION": "waiting",
    "ALL_COMPLETED": "waiting",
    "get_running_loop": "running",
    "iscoroutine": "running",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value


Loop.time = lambda: ticks() / 1000  # what timeout_at() counts by
