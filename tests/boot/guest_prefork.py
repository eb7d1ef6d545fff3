# SPDX-License-Identifier: MIT
"""A handler for tests of images/prefork: ends, hangs, takes its time."""

import asyncio
import os

STARTED_IN = os.getpid()


async def _slowly():
    await asyncio.sleep(1)
    return "slowly\n"


def handle(event, context):
    if event.path == "/slow":
        return _slowly()
    if event.path == "/end":
        os._exit(3)
    if event.path == "/hang":
        sum(range(10**11))
    return {"vm": os.getpid(), "loaded in": STARTED_IN}
