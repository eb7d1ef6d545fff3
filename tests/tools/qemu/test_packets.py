# SPDX-License-Identifier: MIT
"""tools/floe/qemu/packets.py against a QEMU and a tap made here that are quicker than whoever reads."""

from __future__ import annotations

import asyncio
import os
import struct
from typing import Any, cast

from floe.errors import VmError
from floe.qemu.packets import Dump, Tap
from floe.qemu.qmp import Commands

WAIT_S = 60
HEAD = struct.pack("=I20x", 0xA1B2C3D4)
FRAME = struct.pack("=4I", 7, 5, 100, 1500) + bytes(100)


class Qemu:
    """As QEMU does, it writes all that it has into its filters' files before it looks at what it is asked."""

    def __init__(self) -> None:
        self.filters: dict[str, int] = {}
        self._lent = -1

    async def lend(self, fd: int) -> object:
        await self._send()
        self._lent = os.dup(fd)
        return {"fd": self._lent, "fdset-id": 1}

    async def ask(self, name: str, arguments: dict[str, Any]) -> object:
        await self._send()
        if name == "object-add":
            file = self.filters[arguments["id"]] = os.open(arguments["file"], os.O_WRONLY)
            os.write(file, HEAD)
        elif name == "object-del":
            if arguments["id"] not in self.filters:
                raise VmError("there is none")
            os.close(self.filters.pop(arguments["id"]))
        else:
            assert name == "remove-fd"
            os.close(self._lent)
        return {}

    async def _send(self) -> None:
        for file in self.filters.values():
            await asyncio.to_thread(_write, file, FRAME * 20_000)  # twice what a pipe has room for


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def test_a_qemu_that_waits_for_room_in_a_pipe_gets_it_while_it_is_asked() -> None:
    async def scene() -> None:
        qemu = Qemu()
        dump = Dump(cast(Commands, qemu), 0)
        try:
            await asyncio.wait_for(dump.open(), WAIT_S)
            for file in qemu.filters.values():
                os.write(file, FRAME)
            assert {frame[:3] for frame in dump.read()} == {
                (True, 7_000_005_000, 1500),
                (False, 7_000_005_000, 1500),
            }
            await asyncio.wait_for(dump.close(), WAIT_S)
        finally:
            for ours, _ in dump._pipes.values():  # or its thread would wait for ever
                os.close(ours)
        assert qemu.filters == {}

    asyncio.run(scene())


def test_of_a_qemu_that_lies_about_a_frame_nothing_is_kept() -> None:
    ours, theirs = os.pipe2(os.O_NONBLOCK)
    with open(ours, closefd=True), open(theirs, "wb", buffering=0) as pipe:
        dump = Dump(cast(Commands, None), 0)
        dump._pipes = {True: (ours, bytearray())}
        pipe.write(HEAD + FRAME + struct.pack("=4I", 7, 5, 1 << 30, 1 << 30) + bytes(200))
        assert len(dump.read()) == 1
        assert (dump.lost, dump._pipes[True][1]) == (1, b"")


class Interface:
    """A packet socket; it has so many frames."""

    def __init__(self, count: int) -> None:
        self.left = count

    def recvmsg(self, size: int, beside: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, tuple[str, int, int]]:
        if not self.left:
            raise BlockingIOError
        self.left -= 1
        beside_it = [(1, 35, struct.pack("@2l", 3, 4)), (263, 8, struct.pack("=2I12x", 0, 1500))]
        return b"head", beside_it, 0, ("tap0", 0, 4)

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        return struct.pack("=2I", 0, 1)


def test_a_tap_that_never_falls_silent_is_left_for_the_next_look() -> None:
    tap = Tap.__new__(Tap)
    tap.lost, tap._sock = 0, cast(Any, Interface(50_000))
    found = [tap.read() for _ in range(4)]
    assert [len(frames) for frames in found] == [20_000, 20_000, 10_000, 0]
    assert found[2][0] == (True, 3_000_000_004, 1500, b"head")
    assert tap.lost == 4
