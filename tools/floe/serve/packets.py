# SPDX-License-Identifier: MIT
"""When a guest begins to listen: seen in the frames of its network card, which its hypervisor writes into a pipe in
libpcap's format until we close it.

A port that QEMU's user network forwards takes connections before there is a guest, so that trying it tells nothing. A
guest that answers a SYN by SYN and ACK (RFC 9293, 3.10.7) listens there."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable

_CHUNK = 1 << 16
_FILE_HEAD = 24
_RECORD = struct.Struct("=8xI4x")  # of each frame: when, bytes that are here, bytes that it had
_LONGEST = 1 << 16  # bytes of one frame
_OURS = b"\x52\x55"  # begins the hardware address of each station of QEMU's user network
_IP = b"\x08\x00"
_TCP = 6
_SYN, _ACK = 0x02, 0x10


class Ear:
    """Owns both ends of the pipe until lent() and close()."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.on_frame: Callable[[], None] = lambda: None  # the guest sent one: its network is up
        self.on_listens: Callable[[int], None] = lambda port: None  # it took a connection at this port
        self._loop = loop
        self._data = bytearray()
        self._skip = _FILE_HEAD
        self._fd, self.theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.theirs, True)
        loop.add_reader(self._fd, self.hear)

    def lent(self) -> None:
        """The hypervisor has `theirs`, or never will."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def close(self) -> None:
        """Hear no more, and let frames go unrecorded. May be called more than once."""
        self.lent()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def hear(self) -> None:
        """Take what there is, which is the truth: a frame is here before its answer is on its way."""
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self.close()
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= self._skip + _RECORD.size:
            (size,) = _RECORD.unpack_from(self._data, self._skip)
            start = self._skip + _RECORD.size
            if size > _LONGEST:  # not what it should be
                self.close()
                return
            if len(self._data) < start + size:
                return
            frame = bytes(self._data[start : start + size])
            del self._data[: start + size]
            self._skip = 0
            self._heard(frame)

    def _heard(self, frame: bytes) -> None:
        if frame[6:8] == _OURS:
            return
        port = accepting(frame)
        if port:
            self.on_listens(port)
        self.on_frame()


def accepting(frame: bytes) -> int:
    """The port at which the sender of this Ethernet frame takes a connection of the user network's by it; 0: it does
    not. Cut frames and foreign protocols are no error."""
    if frame[:2] != _OURS or frame[12:14] != _IP or len(frame) < 34 or frame[23] != _TCP:
        return 0
    tcp = 14 + (frame[14] & 15) * 4
    if len(frame) < tcp + 14 or frame[tcp + 13] & (_SYN | _ACK) != _SYN | _ACK:
        return 0
    return int.from_bytes(frame[tcp : tcp + 2], "big")
