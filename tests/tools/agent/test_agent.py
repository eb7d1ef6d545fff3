# SPDX-License-Identifier: MIT
"""tools/floe/agent/agent.py: what it makes of an owner that leaves, says nothing, or sends what is no message."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from floe.agent import agent as module
from floe.agent import images
from floe.agent.agent import Agent
from floe.errors import FloeError
from floe.hosts.line import Kind, Line, Message

WAIT_S = 20.0


class Owner:
    """The other end of an agent's line."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.line = Line(fd := ours.detach(), fd, loop)
        self.fd = fd
        self.line.on_message = self.heard.put_nowait
        self.agent = Agent(Line(fd := theirs.detach(), fd, loop), loop)
        self.served = loop.create_task(self.agent.run())

    async def hear(self) -> tuple[Kind, int, bytes]:
        message = await asyncio.wait_for(self.heard.get(), WAIT_S)
        return message.kind, message.vm, message.payload

    def start(self, vm: int, image: bytes, digest: str = "") -> None:
        spec = {"elf": ".", "accel": "tcg", "name": "x"}
        told: dict[str, Any] = {"spec": spec, "size": len(image), "disks": [], "likeness": {"QEMU": "of another kind"}}
        self.line.send(
            Kind.START, vm, msgspec.json.encode(told | {"image": digest or hashlib.sha256(image).hexdigest()})
        )


def played(scene: Callable[[Owner], Awaitable[None]]) -> None:
    async def bounded() -> None:
        owner = Owner()
        kind, _, told = await owner.hear()
        assert (kind, msgspec.json.decode(told)["protocol"]) == (Kind.HELLO, 1)
        await asyncio.wait_for(scene(owner), 3 * WAIT_S)
        owner.line.close()
        await asyncio.wait([owner.served])

    asyncio.run(bounded())


def test_it_answers_and_leaves_with_its_owner() -> None:
    async def scene(owner: Owner) -> None:
        owner.line.send(Kind.PING)
        assert await owner.hear() == (Kind.PONG, 0, b"")
        owner.line.send(Kind.KILL, 7)  # of which it knows nothing
        assert await owner.hear() == (Kind.OVER, 7, struct.pack("<i", 9))
        owner.start(1, b"image")
        kind, vm, told = await owner.hear()
        assert (kind, vm, msgspec.json.decode(told)["errno"]) == (Kind.FAILED, 1, errno.EOPNOTSUPP)
        assert "QEMU " in told.decode() and "of another kind here" in told.decode()
        owner.line.send(Kind.KILL, 1)
        assert await owner.hear() == (Kind.OVER, 1, struct.pack("<i", 9))
        owner.line.close()
        await asyncio.wait_for(owner.served, WAIT_S)

    played(scene)


def test_an_owner_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENT_S", 0.1)
    monkeypatch.setattr(module, "BEAT_S", 0.05)

    async def scene(owner: Owner) -> None:
        with pytest.raises(FloeError, match="says nothing any more"):
            await asyncio.wait_for(owner.served, WAIT_S)

    played(scene)


@pytest.mark.parametrize("said", [
    struct.pack("<IBBHI", 3 << 20, 1, 0, 0, 0), struct.pack("<IBBHI", 0, 99, 0, 0, 0), b"Welcome to this machine!\n",
    struct.pack("<IBBHI", 4, 0x80 | 35, 0, 0, 0) + b"none", struct.pack("<IBBHI", 2, 2, 0, 0, 1) + b"{}",
    struct.pack("<IBBHI", 5, 32, 0, 4, 1) + b"K\0\0\0\0",
])  # fmt: skip
def test_what_is_no_message_ends_it(said: bytes) -> None:
    async def scene(owner: Owner) -> None:
        os.write(owner.fd, said)
        with pytest.raises(FloeError):
            await asyncio.wait_for(owner.served, WAIT_S)

    played(scene)


def test_images_are_kept_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for n in range(20):
        content = os.urandom(5000) + bytes([n])
        digest = hashlib.sha256(content).hexdigest()
        assert images.find(digest) is None
        for data in (content[:-1] + b"?", content):
            arriving = images.Arriving(digest, len(content))
            assert not arriving.write(0, data[:4096])
            assert arriving.write(4096, data[4096:])
            assert (arriving.whole() is not None) == (data == content)
            arriving.close()
        path = images.find(digest)
        assert path is not None and path.read_bytes() == content
    assert len(list(images.folder().iterdir())) == 16
    path.write_bytes(b"changed")
    assert images.find(digest) is None
