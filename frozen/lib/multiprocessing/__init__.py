# SPDX-License-Identifier: MIT
"""CPython's multiprocessing, with VMs of one family as processes (docs/fork.md)."""

_attrs = {
    "Process": "process",
    "active_children": "process",
    "current_process": "process",
    "parent_process": "process",
    "ProcessError": "errors",
    "TimeoutError": "errors",
    "BufferTooShort": "errors",
    "Pipe": "connection",
    "Queue": "queues",
    "SimpleQueue": "queues",
    "Pool": "pool",
    "Lock": "synchronize",
    "RLock": "synchronize",
    "Semaphore": "synchronize",
    "BoundedSemaphore": "synchronize",
    "Event": "synchronize",
    "cpu_count": "context",
    "get_context": "context",
    "get_start_method": "context",
    "set_start_method": "context",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value
