# SPDX-License-Identifier: MIT
"""The line between the owner of a family and a floe on another host: messages over a pair of descriptors, in order.

A message has 12 bytes of head (length, kind, zero, stream, VM; little endian) and a payload, which is compressed where
the kind has its highest bit. VMs have numbers of the owner's, each used once. Which messages follow which: session.py
and agent/agent.py.
"""

from __future__ import annotations

import asyncio
import enum
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from floe.stream.link import Link

PROTOCOL = 1
MAX_PAYLOAD = 2 << 20
PIECE = 128 << 10  # bytes of a stream or a file that go in one message
BEAT_S = 5.0  # between two PINGs of the owner's
SILENT_BEATS = 3  # so many without an answer: the other side hangs
_HIGH = 1 << 20  # bytes queued at which a sender waits
_PACKED = 0x80
_WORTH = 256  # bytes that it is tried to compress
_HEAD = struct.Struct("<IBBHI")


class Kind(enum.IntEnum):
    """What a message says. Those of the owner's: START to GO, and PING; the other side's: NEED to SENT, and PONG."""

    HELLO = 1  # JSON: protocol, floe
    START = 2  # JSON: a machine for a copy
    BLOB = 3  # before START: a name, NUL, content
    FILE = 4  # u64 offset, bytes: of the image (stream 0), or of a disk
    RUN = 5  # the state is there: let it run
    KILL = 6
    SEND = 7  # stand still and send your state
    GO = 8  # after STILL: the state may come
    NEED = 16  # the image is not there
    READY = 17  # JSON: the state may come
    RUNNING = 18
    FAILED = 19  # JSON: errno, text
    OVER = 20  # i32: it has ended, status of waitpid()
    STILL = 21  # it stands still
    SENT = 22  # all of the state was sent, and it goes on
    DATA = 32  # bytes of a stream
    TOOK = 33  # u32: so many of a stream's bytes were passed on
    END = 34  # of a stream
    PING = 35
    PONG = 36


class Channel(enum.IntEnum):
    """Streams of a VM."""

    CONSOLE = 1
    SERIAL = 2
    FAMILY = 3
    STATE = 4  # as pages.py packs it, in both directions


class BrokenLine(Exception):
    """What came is no message. The text says what it is."""


@dataclass(frozen=True)
class Message:
    """One message."""

    kind: Kind
    vm: int = 0
    stream: int = 0
    payload: bytes = b""


class Line:
    """One end. Owns the descriptors, which may be one socket."""

    def __init__(self, read_fd: int, write_fd: int, loop: asyncio.AbstractEventLoop) -> None:
        self.on_message: Callable[[Message], None] = lambda message: None  # raises BrokenLine
        self.on_end: Callable[[str], None] = lambda problem: None  # once; "": the other side has left
        self.sent = 0  # bytes, heads with them
        self._in = Link(read_fd, loop)
        self._out = self._in if write_fd == read_fd else Link(write_fd, loop)
        self._in.on_data = self._arrived
        self._in.on_end = lambda: self._over("")
        self._out.on_room = self._has_room
        self._room = asyncio.Event()
        self._room.set()
        self._rest = bytearray()
        self._ended = False
        self._in.resume()

    def send(self, kind: Kind, vm: int = 0, payload: bytes = b"", stream: int = 0) -> None:
        """Send a message, or queue it."""
        word = int(kind)
        if len(payload) >= _WORTH:
            packed = zlib.compress(payload, 1)
            if len(packed) < len(payload):
                word, payload = word | _PACKED, packed
        message = _HEAD.pack(len(payload), word, 0, stream, vm) + payload
        self.sent += len(message)
        self._out.send(message)
        if self._out.queued > _HIGH:
            self._room.clear()

    async def room(self) -> None:
        """Wait until more may be sent, or the line has ended."""
        await self._room.wait()

    def close(self) -> None:
        """Let go of the descriptors; nothing more is heard."""
        self._ended = True
        self._in.close()
        self._out.close()
        self._room.set()

    def _over(self, problem: str) -> None:
        if not self._ended:
            self.close()
            self.on_end(problem)

    def _has_room(self) -> None:
        if self._out.queued <= _HIGH:
            self._room.set()

    def _arrived(self, data: bytes) -> None:
        self._rest += data
        at = 0
        try:
            while not self._ended and len(self._rest) - at >= _HEAD.size:
                length, word, zero, stream, vm = _HEAD.unpack_from(self._rest, at)
                if length > MAX_PAYLOAD or zero:
                    raise BrokenLine(f"no message: {bytes(self._rest[at : at + 40])!r}")
                end = at + _HEAD.size + length
                if len(self._rest) < end:
                    break
                payload = bytes(self._rest[at + _HEAD.size : end])
                at = end
                self.on_message(Message(_kind(word & ~_PACKED), vm, stream, _plain(word, payload)))
        except BrokenLine as e:
            self._over(str(e))
        finally:
            del self._rest[:at]  # also where a message was too much for us: it comes once


def _kind(word: int) -> Kind:
    try:
        return Kind(word)
    except ValueError:
        raise BrokenLine(f"a message of kind {word}") from None


def _plain(word: int, payload: bytes) -> bytes:
    if not word & _PACKED:
        return payload
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(payload, MAX_PAYLOAD)
    except zlib.error as e:
        raise BrokenLine(f"a message that is packed badly: {e}") from None
    if not unpacker.eof:
        raise BrokenLine("a message that is too long")
    return plain
