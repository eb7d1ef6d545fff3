# SPDX-License-Identifier: MIT
"""The agent: serves one family of another host's over its standard input and output, and ends with them. It keeps
nothing but images; its VMs end with it, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import msgspec

from floe import __version__
from floe.agent import images
from floe.agent.guest import Guest, Start
from floe.errors import FloeError
from floe.hosts.line import BEAT_S, PROTOCOL, BrokenLine, Channel, Kind, Line, Message
from floe.hosts.pages import Packer, Unpacker, pages_of

_SILENT_S = 6 * BEAT_S  # an owner that says nothing for so long is gone, or stopped
_END_S = 3.0  # for VMs to end


class Agent:
    """One family's."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self._line = line
        self._loop = loop
        self._guests: dict[int, Guest] = {}
        self._packer = Packer()
        self._unpacker = Unpacker()
        self._image: asyncio.Future[Path] | None = None
        self._arriving: images.Arriving | None = None
        self._over = asyncio.Event()
        self._less = asyncio.Event()  # a guest has ended
        self._problem = ""
        self._heard = time.monotonic()
        line.on_message = self._hear
        line.on_end = self._end
        line.send(Kind.HELLO, payload=msgspec.json.encode({"floe": __version__, "protocol": PROTOCOL}))

    async def run(self) -> None:
        """Serve until the other side has left. Raises FloeError where that is not how it ended."""
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._over.wait()
            if time.monotonic() - self._heard > _SILENT_S:
                self._end("the owner of the family says nothing any more")
        for guest in list(self._guests.values()):
            guest.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                while self._guests:
                    self._less.clear()
                    await self._less.wait()
        if self._arriving is not None:
            self._arriving.close()
        if self._problem:
            raise FloeError(self._problem)

    def _end(self, problem: str) -> None:
        self._line.close()
        self._problem = problem
        self._over.set()

    def _hear(self, message: Message) -> None:
        """Raises BrokenLine."""
        self._heard = time.monotonic()
        state = b""
        if message.kind is Kind.DATA and message.stream == Channel.STATE:
            state = self._unpacker.unpack(message.payload)  # whose ever it is: later ones build on it
        if message.kind is Kind.PING:
            self._line.send(Kind.PONG)
        elif message.kind is Kind.FILE and message.stream == 0:
            self._take_image(message.payload)
        elif message.kind in (Kind.BLOB, Kind.START) or message.vm in self._guests:
            self._guest(message.vm).hear(message, state, self._find_image)
        elif message.kind is Kind.KILL:
            self._guest(message.vm).end()

    def _guest(self, vm: int) -> Guest:
        guest = self._guests.get(vm)
        if guest is None:
            self._guests[vm] = guest = Guest(vm, self._line, self._packer, self._loop)
            guest.on_over = lambda: self._forget(vm)
        return guest

    def _forget(self, vm: int) -> None:
        self._guests.pop(vm, None)
        self._less.set()

    # ---- the image -----------------------------------------------------------------------------------------

    async def _find_image(self, start: Start, vm: int) -> Path:
        """The family's, sent where it is not here. Raises OSError."""
        if self._image is None:
            self._image = self._loop.create_future()
            found = images.find(start.image)
            if found is not None:
                self._has_image(found)
            else:
                try:
                    self._arriving = images.Arriving(start.image, start.size)
                except OSError as e:
                    self._no_image(e)
                else:
                    self._line.send(Kind.NEED, vm)
        return await asyncio.shield(self._image)

    def _take_image(self, payload: bytes) -> None:
        if self._arriving is None:
            return
        try:
            if self._arriving.write(int.from_bytes(payload[:8], "little"), payload[8:]):
                path = self._arriving.whole()
                if path is None:
                    raise BrokenLine("an image that is not what it was to be")
                self._arriving.close()
                self._arriving = None
                self._has_image(path)
        except OSError as e:
            self._no_image(e)

    def _has_image(self, path: Path) -> None:
        assert self._image is not None
        pages = pages_of(path)
        self._packer.seed(pages)
        self._unpacker.seed(pages)
        self._image.set_result(path)

    def _no_image(self, error: OSError) -> None:
        """There is no room for it, or no right to write it."""
        if self._arriving is not None:
            self._arriving.close()
            self._arriving = None
        if self._image is not None and not self._image.done():
            self._image.set_exception(OSError(error.errno, error.strerror, str(images.folder())))


def serve() -> None:
    """Be the agent on this process's standard input and output. Raises FloeError."""
    read_fd, write_fd = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # nothing else is to get between the messages
    os.close(nothing)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        await Agent(Line(read_fd, write_fd, loop), loop).run()

    asyncio.run(run())
