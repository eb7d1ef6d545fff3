# SPDX-License-Identifier: MIT
"""One TCP connection carried to another, byte by byte: each way has an end of its own, and who is slow holds back the
other side."""

from __future__ import annotations

import asyncio

from floe.hostnet.carry import copy, reset

LAST_S = 60.0  # for the last bytes to be taken, when both have ended

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join(near: Streams, far: Streams, over: asyncio.Event | None = None) -> None:
    """Both ways; the end of one is passed on, and the other goes on until it ends too. Both connections are closed
    then, and reset where one of them was.

    over: nothing more comes from the far side, and nothing is taken there, once it is set."""
    writers = (near[1], far[1])
    try:
        async with asyncio.TaskGroup() as ways:
            there = ways.create_task(copy(near[0], far[1]))
            back = ways.create_task(copy(far[0], near[1]))
            if over is not None:
                cut = ways.create_task(_cut(there, back, over))
                there.add_done_callback(lambda task: cut.cancel())
        async with asyncio.timeout(LAST_S):
            for each in writers:
                each.close()
                await each.wait_closed()
    except* (OSError, TimeoutError):
        for each in writers:
            reset(each)
    finally:
        for each in writers:
            each.transport.abort()


async def _cut(there: asyncio.Task[None], back: asyncio.Task[None], over: asyncio.Event) -> None:
    """What the far side said is passed on, and no more is read for it."""
    await asyncio.wait([back])
    await over.wait()
    there.cancel()
