# SPDX-License-Identifier: MIT
# What asyncio says of what runs.

from . import core


def get_running_loop():
    core.current_task()  # RuntimeError where none runs
    return core.get_event_loop()


def iscoroutine(obj):
    return hasattr(obj, "send") and hasattr(obj, "throw")
