# SPDX-License-Identifier: MIT
"""Serves what part.answer says, whichever part was sent last (floe swap)."""

import asyncio

import part
import vfs  # noqa: F401 - a disk is mounted where this is imported
from httpd import Server
from store import Store

store = Store(files=8, records=64)


async def main():
    Server(lambda request: part.answer(store, request)).start(80)
    print("serving on port 80")
    await asyncio.Event().wait()


asyncio.run(main())
