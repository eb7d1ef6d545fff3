# SPDX-License-Identifier: MIT
"""tools/floe/hosts/tunnel.py and line.py: two sockets joined over a line carry all, in order, and no more at a time than
is taken at the other end."""

from __future__ import annotations

import asyncio
import os
import random
import socket

import pytest

from floe.hosts.line import BrokenLine, Kind, Line, Message
from floe.hosts.tunnel import WINDOW, Tunnel

WAIT_S = 30.0
BUFFERS = 4 << 20  # more than the kernel holds of four socket buffers, of any size that is usual


class Side:
    """A program's socket, and the tunnel behind it."""

    def __init__(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        self.sock, ours = socket.socketpair()
        self.sock.setblocking(False)
        self.line = Line(fd, fd, loop)
        self.line.on_message = self._hear
        self.tunnel = Tunnel(ours, self.line, loop, (1, 3))

    def _hear(self, message: Message) -> None:
        if message.kind is Kind.DATA:
            self.tunnel.data(message.payload)
        elif message.kind is Kind.TOOK:
            self.tunnel.took(int.from_bytes(message.payload, "little"))
        else:
            self.tunnel.end()

    async def read(self) -> bytes:
        found = b""
        while data := await asyncio.get_running_loop().sock_recv(self.sock, 70_000):
            found += data
        return found


def test_all_of_it_in_order_and_no_more_than_is_taken() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        near, far = Side(one.detach()), Side(other.detach())
        cuts = random.Random(5)
        content = os.urandom(BUFFERS) + bytes(BUFFERS)

        async def write() -> None:
            at = 0
            while at < len(content):
                size = cuts.randint(1, 100_000)
                await loop.sock_sendall(near.sock, content[at : at + size])
                at += size
            near.sock.close()

        writing = loop.create_task(write())
        await loop.sock_sendall(far.sock, b"back")
        assert await loop.sock_recv(near.sock, 9) == b"back"
        before = -1
        while before != near.line.sent:  # until nobody can go on, for nobody reads
            before = near.line.sent
            await asyncio.sleep(0.2)
        assert not writing.done()
        assert near.line.sent <= BUFFERS
        assert await far.read() == content
        await writing
        near.line.close()
        far.line.close()
        far.sock.close()

    asyncio.run(asyncio.wait_for(scene(), WAIT_S))
    assert WINDOW < BUFFERS


def test_a_side_that_sends_more_than_is_taken() -> None:
    async def scene() -> None:
        one, other = socket.socketpair()
        side = Side(one.detach())
        with pytest.raises(BrokenLine, match="nobody has taken"):
            for _ in range(64):  # MiB, and nobody reads
                side.tunnel.data(bytes(1 << 20))
        side.line.close()
        side.sock.close()
        other.close()

    asyncio.run(scene())


def test_a_message_that_is_too_much_for_us_comes_once() -> None:
    """A fault of ours in one of them has no part in the others."""

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        one, other = socket.socketpair()
        near, far = (Line(sock.fileno(), sock.detach(), loop) for sock in (one, other))
        heard: list[bytes] = []
        bad, last = asyncio.Event(), asyncio.Event()

        def hear(message: Message) -> None:
            heard.append(message.payload)
            if message.payload == b"last":
                last.set()
            if message.payload == b"bad":
                bad.set()
                raise ValueError("a fault of ours")

        near.on_message = hear
        for word in (b"first", b"bad", b"second"):
            far.send(Kind.DATA, 1, word)
        async with asyncio.timeout(WAIT_S):
            await bad.wait()
            far.send(Kind.DATA, 1, b"last")
            await last.wait()
        assert heard == [b"first", b"bad", b"second", b"last"]
        far.close()
        near.close()

    asyncio.run(scene())
