# SPDX-License-Identifier: MIT
"""tools/floe/vm/childlines.py: each line of a child's is whole, also where the first VM is in the middle of one."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from floe.detached import kin
from floe.stream.logfile import BoundedLog
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


def test_a_line_of_the_first_vm_is_not_cut_by_who_speaks_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes come in pieces that seldom end where a line does, as those of a VM that prints much."""
    monkeypatch.setattr(childlines, "HELD_S", 10 * WAIT_S)

    async def scene() -> None:
        it = Scene()
        top, one, _ = it.says
        top.sendall(b"p 1")
        await it.shows("p 1")
        one.sendall(b"a\nb\n")
        async with asyncio.timeout(WAIT_S):
            while it.children[0].text != "a\nb\n":
                it.changed.clear()
                await it.changed.wait()
        top.sendall(b"0\np 11\np 1")
        await it.shows("p 10\np 11\n[app.1] a\n[app.1] b\np 1")
        top.sendall(b"2\n")
        await it.shows("p 10\np 11\n[app.1] a\n[app.1] b\np 12\n")
        for s in it.says:
            s.close()

    asyncio.run(scene())


def test_a_log_has_whole_lines_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(childlines, "HELD_S", 10 * WAIT_S)

    async def scene() -> None:
        it = Scene()
        log = BoundedLog(tmp_path / "console.log")
        ChildLines(asyncio.get_running_loop()).join("app.1", it.children[0], kin._Log(log))
        log.write(b"p 1")
        it.says[1].sendall(b"a\n")
        async with asyncio.timeout(WAIT_S):
            while it.children[0].text != "a\n":
                it.changed.clear()
                await it.changed.wait()
        log.write(b"0\np 1")
        log.write(b"1\n")
        assert (tmp_path / "console.log").read_text() == "p 10\n[app.1] a\np 11\n"
        log.close()
        for s in it.says:
            s.close()

    asyncio.run(scene())
