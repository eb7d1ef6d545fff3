# SPDX-License-Identifier: MIT
"""CPython's asyncio over MicroPython's, which alone is in an image that asks for no more than it has."""

from . import core
from .core import *

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
    "shield": "waiting",
    # Methods of tasks and loops, as they are named.
    "InvalidStateError": "tasks",
    "ensure_future": "tasks",
    ".result()": "tasks",
    ".exception()": "tasks",
    ".cancelled()": "tasks",
    ".add_done_callback": "tasks",
    ".remove_done_callback": "tasks",
    ".get_name()": "tasks",
    ".set_name": "tasks",
    ".get_coro()": "tasks",
    "create_task(name)": "tasks",
    "create_task(context)": "tasks",
    "Future": "futures",
    ".create_future": "futures",
    ".call_at": "timers",
    ".call_later": "timers",
    ".call_soon": "timers",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value


for _part in ("tasks", "futures", "timers"):
    try:
        __import__(_part, globals(), None, (), 1)
    except ImportError:
        pass  # nobody names what it has
create_task = core.create_task
core.Loop.time = lambda: core.ticks() / 1000  # what timeout_at() counts by
