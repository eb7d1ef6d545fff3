# SPDX-License-Identifier: MIT
"""Streams for tests/boot/test_web_stream.py, on the server of images/web: bodies that come, and go, piece by piece."""

import asyncio
import gc
import json

from httpd import Limits, Server
from message import Pending, Response, Streamed

_PIECE = b"0123456789abcdef" * 1024


class Count:
    """A source of so many pieces: at once, or after a while each, or that fails, or goes on for ever."""

    closed = 0

    def __init__(self, kind, pieces):
        self.kind = kind
        self.left = pieces
        self.wake = None
        self.has = True

    def read(self):
        if self.kind == "slow" and not self.has:
            self.has = True
            self.task = asyncio.create_task(self.later())
            return None
        if self.left == 0:
            if self.kind == "broken":
                raise OSError(5)
            return b""
        self.left -= 1
        self.has = False
        return _PIECE

    async def later(self):
        await asyncio.sleep_ms(20)
        self.wake()

    def close(self):
        Count.closed += 1


class Sum(Pending):
    """Adds up a body, piece by piece; answers at its end."""

    gone = 0

    def __init__(self, source):
        self.source = source
        self.total = self.pieces = self.largest = 0
        source.wake = self.take
        self.task = asyncio.create_task(self.start())

    async def start(self):
        self.take()

    def take(self):
        while True:
            piece = self.source.read()
            if piece is None:
                return
            if not piece:
                break
            self.total += len(piece)
            self.pieces += 1
            self.largest = max(self.largest, len(piece))
        said = json.dumps([self.total, self.pieces > 1, self.largest])
        self.answer(Response(200, said.encode(), b"application/json"))

    def cancel(self):
        Sum.gone += 1


class Handler:
    def streams(self, head):
        return head.path in ("/sum", "/echo", "/deaf")

    def __call__(self, request):
        name, _, count = request.path[1:].partition("/")
        if name == "echo":
            return Streamed(200, request.body, kind=b"text/plain")
        if name == "sum":
            return Sum(request.body)
        if name == "deaf":
            return Response(403, b"no\n")
        if name == "state":
            gc.collect()
            said = json.dumps([Count.closed, Sum.gone, gc.mem_alloc(), len(server.connections)])
            return Response(200, said.encode(), b"application/json")
        if name == "empty":
            return Streamed(200, Count("known", 0), 0)
        pieces = int(count)
        length = {"known": pieces, "short": pieces + 1}.get(name)
        return Streamed(200, Count(name, pieces), -1 if length is None else length * len(_PIECE))


async def main():
    server.start(80)
    print("serving")
    await asyncio.sleep(3600)


limits = Limits()
limits.body_s = 1
server = Server(Handler(), limits)
asyncio.run(main())
