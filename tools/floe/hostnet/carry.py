# SPDX-License-Identifier: MIT
"""One client's connection, carried to whoever takes it.

A port of QEMU's accepts for a guest that may refuse, and then ends the connection or resets it. What the client has
said until then is kept, so that another VM may be asked: QEMU reads nothing before the guest has accepted, and Linux
resets a connection whose bytes nobody has read (RFC 1122, section 4.2.2.13)."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
import time

_CHUNK = 1 << 16
_KEPT = 1 << 16  # bytes of the client's that may be said again
_CONNECT_S = 10.0
_REFUSAL_S = 5.0  # an end that comes later was not the guest's refusal
_LAST_S = 60.0  # for the last bytes to be taken, when both have ended
_CONNECTIONS = 4096  # at a time, and at the most half the descriptors of this process


class Client:
    """Carried by one or, where that one takes nothing, by the next."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._said = b""
        self._is_kept = True  # `said` is all that it said
        self._ended = False  # it will say no more
        self._lost = False  # it was reset

    async def by(self, target: tuple[str, int], *, last: bool) -> bool:
        """Carry both ways: the end of one is passed on, and the other goes on until it ends too; a reset of one resets
        the other. False: nobody took it there, and another one may. last: there is no other."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(*target)
        except (OSError, TimeoutError):
            return False
        began = time.monotonic()
        up = asyncio.create_task(self._say(writer))
        try:
            try:
                answer = await _first(reader, up)
            except OSError:
                if self._is_kept and not self._lost and not last:
                    return False
                raise
            if not (answer or last) and self._is_refused(writer, time.monotonic() - began):
                return False
            await self._both(answer, reader, writer, up)
        except (OSError, TimeoutError):
            reset(writer)
            reset(self._writer)
        finally:
            up.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await up
            writer.transport.abort()
        return True

    def end(self) -> None:
        """Let go of it; where nobody took it, it is reset."""
        if not self._writer.is_closing():
            reset(self._writer)
        self._writer.transport.abort()

    def _is_refused(self, writer: asyncio.StreamWriter, after_s: float) -> bool:
        """Whether an end without an answer is the guest's refusal, and no end that a server has made."""
        if self._ended or not self._is_kept or after_s > _REFUSAL_S:
            return False
        sock: socket.socket = writer.get_extra_info("socket")
        return not self._said or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0  # it was read by nobody

    async def _both(
        self, answer: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: asyncio.Task[None]
    ) -> None:
        down = asyncio.create_task(copy(reader, self._writer, answer))
        try:
            await asyncio.gather(up, down)
        finally:
            down.cancel()
        async with asyncio.timeout(_LAST_S):
            for each in (self._writer, writer):
                each.close()
                await each.wait_closed()

    async def _say(self, writer: asyncio.StreamWriter) -> None:
        """What it said before, and what it says."""
        if self._said:
            writer.write(self._said)
            await writer.drain()
        while not self._ended:
            try:
                data = await self._reader.read(_CHUNK)
            except OSError:
                self._lost = True
                raise
            if not data:
                self._ended = True
                break
            if self._is_kept:
                if len(self._said) + len(data) <= _KEPT:
                    self._said += data
                else:
                    self._is_kept = False
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _first(reader: asyncio.StreamReader, up: asyncio.Task[None]) -> bytes:
    """The first bytes of an answer; none: its end. Raises OSError, be it because the client was lost."""
    first = asyncio.create_task(reader.read(_CHUNK))
    try:
        await asyncio.wait({first, up}, return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            up.result()
        return await first
    finally:
        first.cancel()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes | None = None) -> None:
    """One way, up to its end, which is passed on. first: what was read before, if it was; empty: the end."""
    data = await reader.read(_CHUNK) if first is None else first
    while data:
        writer.write(data)
        await writer.drain()
        data = await reader.read(_CHUNK)
    writer.write_eof()


def room() -> int:
    """How many connections this process may carry at a time; it is allowed all the descriptors that may be."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        allowed = most
    return min(_CONNECTIONS, allowed // 4)


def reset(writer: asyncio.StreamWriter) -> None:
    """End it as one that has failed."""
    with contextlib.suppress(OSError):  # SO_LINGER of 0 s: its end is a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
