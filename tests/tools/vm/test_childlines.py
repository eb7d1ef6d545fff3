# SPDX-License-Identifier: MIT
"""tools/floe/vm/childlines.py: each line of a child's is whole, also where the first VM is in the middle of one."""

from __future__ import annotations

import asyncio
import socket

from floe.stream.streams import Stream
from floe.vm import childlines
from floe.vm.childlines import ChildLines

WAIT_S = 20.0


class Scene:
    """The first VM and two children, and what they say."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.changed = asyncio.Event()
        pairs = [socket.socketpair() for _ in range(3)]
        self.top, *self.children = (Stream(pair[0], loop, self.changed.set, 1 << 20) for pair in pairs)
        self.says = [pair[1] for pair in pairs]
        lines = ChildLines(loop)
        for number, child in enumerate(self.children, 1):
            lines.join(f"app.{number}", child, self.top)

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.top.text != text:
                self.changed.clear()
                await self.changed.wait()


def test_lines_are_whole_and_have_a_name() -> None:
    async def scene() -> None:
        it = Scene()
        top, one, two = it.says
        top.sendall(b"first\n")
        await it.shows("first\n")
        one.sendall(b"a\nb")
        await it.shows("first\n[app.1] a\n")
        two.sendall(b"c\n")
        await it.shows("first\n[app.1] a\n[app.2] c\n")
        one.close()  # its last line has no end
        await it.shows("first\n[app.1] a\n[app.2] c\n[app.1] b\n")
        top.close()
        two.close()

    asyncio.run(scene())


def test_they_wait_for_the_end_of_a_line_but_not_for_ever() -> None:
    async def scene() -> None:
        it = Scene()
        top, one, two = it.says
        top.sendall(b"prompt> ")
        await it.shows("prompt> ")
        one.sendall(b"a\n")
        await it.shows("prompt> \n[app.1] a\n")
        two.sendall(b"x" * (childlines._LINE + 2) + b"\n")
        await it.shows("prompt> \n[app.1] a\n[app.2] " + "x" * childlines._LINE + "\n[app.2] xx\n")
        for s in it.says:
            s.close()

    asyncio.run(scene())
