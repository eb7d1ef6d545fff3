# SPDX-License-Identifier: MIT
"""The frames between a VM and its family: 12 bytes of head (length of the payload, kind, zeros, channel; little
endian), then the payload. The channel is a pipe's id, or 0 where no pipe is meant. The guest's side: modules/vm."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

VERSION = 1
MAX_PAYLOAD = 16384
NOBODY_READS = 0xFFFFFFFF  # in TAKEN
AT_END = 0xFFFFFFFF  # in STATE
READING, WRITING = 0, 1  # in CLOSE
KEPT = b"\0"  # in FORK: the copy is a snapshot; no place begins like this
_HEAD = struct.Struct("<IBBHI")


class Kind(enum.IntEnum):
    """What a frame is about."""

    HELLO = 1
    FORK = 2
    PREPARED = 3
    FROZEN = 4
    RESULT = 5
    ENDED = 6
    KILL = 7
    KILLED = 8
    SIGNAL = 9
    PIPE = 10
    WRITE = 11
    TAKEN = 12
    READ = 13
    DATA = 14
    WANT = 15
    READABLE = 16
    CLOSE = 17
    STATE = 18
    SNAPSHOT = 24
    TEMPLATE = 25
    HOLD = 26
    GO = 27


# Payload of what a guest may send: at least, at most.
_SIZES = {
    Kind.HELLO: (4, 4),
    Kind.FORK: (0, 255),
    Kind.FROZEN: (0, 0),
    Kind.KILL: (8, 8),
    Kind.PIPE: (0, 0),
    Kind.WRITE: (1, MAX_PAYLOAD),
    Kind.READ: (4, 4),
    Kind.WANT: (1, 1),
    Kind.CLOSE: (1, 1),
    Kind.STATE: (1, 1),
    Kind.SNAPSHOT: (4, 4),
    Kind.HOLD: (0, 0),
    Kind.GO: (0, 0),
}
_OF_PIPES = {Kind.PIPE, Kind.WRITE, Kind.READ, Kind.WANT, Kind.CLOSE, Kind.STATE}


class BrokenFrame(Exception):
    """A guest sent what is no frame, or none that it may send. The text says what."""


@dataclass(frozen=True)
class Frame:
    """One frame of a guest's."""

    kind: Kind
    channel: int = 0
    payload: bytes = b""

    def number(self) -> int:
        """The payload as an unsigned number."""
        return int.from_bytes(self.payload, "little")


def encode(kind: Kind, payload: bytes = b"", channel: int = 0) -> bytes:
    """A frame for a guest."""
    return _HEAD.pack(len(payload), kind, 0, 0, channel) + payload


def numbers(*values: int) -> bytes:
    """A payload of signed 32-bit numbers."""
    return struct.pack(f"<{len(values)}i", *values)


class Decoder:
    """Cuts what a guest sends into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole by now. Raises BrokenFrame; the frames before the broken one are lost with it."""
        self._rest += data
        found = []
        at = 0
        while len(self._rest) - at >= _HEAD.size:
            length, kind, zero, zeros, channel = _HEAD.unpack_from(self._rest, at)
            _check(length, kind, zero | zeros, channel)
            end = at + _HEAD.size + length
            if len(self._rest) < end:
                break
            found.append(Frame(Kind(kind), channel, bytes(self._rest[at + _HEAD.size : end])))
            at = end
        del self._rest[:at]
        return found


def _check(length: int, kind: int, zeros: int, channel: int) -> None:
    if kind not in _SIZES:
        raise BrokenFrame(f"a frame of kind {kind}")
    least, most = _SIZES[Kind(kind)]
    name = Kind(kind).name
    if not least <= length <= most:
        raise BrokenFrame(f"{name} with {length} bytes")
    if zeros:
        raise BrokenFrame(f"{name} with bits that mean nothing")
    if (channel != 0) != (kind in _OF_PIPES):
        raise BrokenFrame(f"{name} on channel {channel}")
