# SPDX-License-Identifier: MIT
"""What iperf 2 says on the wire: the client's header in its first bytes, datagrams, the server's report.

As iperf 2.1.8 writes and reads it; numbers are big-endian.
"""

import struct
import time

from datagram import CLOCK, Datagrams

_EXTEND = 0x40000000
_VERSION1 = 0x80000000
_VERSION2 = 0x04000000
_LEN_BIT = 0x00010000
_LEN_MASK = 0xFFFE
_UPPER_BWSET = 0x0100
_UPPER_REVERSE = 0x0400
_UPPER_BOTH = 0x0800
_VERSION = (0x00020001, 0x00080003)  # 2.1.8, whose words these are

DATAGRAM = 16  # bytes before the header in a datagram
HEADER = 60
SHORTEST = 24  # of a header with anything that matters
_LONGEST = 256
REPORT = 128  # bytes of the server's report


def header_size(first: bytes) -> int:
    """Bytes of a header whose first four these are; 0: plain data."""
    flags = struct.unpack(">I", first)[0]
    if not flags & (_EXTEND | _VERSION1) or not flags & _LEN_BIT:
        return 0
    size = (flags & _LEN_MASK) >> 1
    return size if SHORTEST <= size <= _LONGEST else 0


class Header:
    """What a client asks for."""

    def __init__(self, reverse: bool = False, both: bool = False) -> None:
        self.reverse = reverse
        self.both = both
        self.seconds = 10.0
        self.bytes = 0  # instead of seconds
        self.rate = 0

    @staticmethod
    def read(data: bytes) -> "Header":
        header = Header()
        amount = struct.unpack_from(">i", data, 20)[0]
        if amount < 0:
            header.seconds = -amount / 100
        else:
            header.bytes = amount
        if len(data) >= 56:
            upper = struct.unpack_from(">H", data, 32)[0]
            low, high = struct.unpack_from(">II", data, 48)
            header.reverse = bool(upper & _UPPER_REVERSE)
            header.both = bool(upper & _UPPER_BOTH)
            header.rate = low + (high >> 8 << 32)
        return header

    def pack(self, port: int) -> bytes:
        data = bytearray(HEADER)
        amount = self.bytes or -int(self.seconds * 100)
        flags = _EXTEND | _VERSION2 | _LEN_BIT | HEADER << 1
        struct.pack_into(">IiiiiI", data, 0, flags, 1, port, 0, 0, amount & 0xFFFFFFFF)
        upper = (_UPPER_REVERSE if self.reverse else 0) | (_UPPER_BWSET if self.rate else 0)
        struct.pack_into(">HH", data, 32, upper, 0)
        struct.pack_into(">II", data, 36, *_VERSION)
        struct.pack_into(">II", data, 48, self.rate & 0xFFFFFFFF, self.rate >> 32 << 8)
        return bytes(data)


class Datagrams2(Datagrams):
    """iperf 2's: a signed number, seconds, microseconds. The last one's number is negative."""

    def __init__(self, size: int, header: bytes = b"") -> None:
        super().__init__(size)
        self._header = header
        self._shift = 0  # 1: older clients count from 0

    def prepare(self, datagram: memoryview) -> None:
        place = datagram[DATAGRAM : DATAGRAM + len(self._header)]
        place[:] = self._header[: len(place)]

    def stamp(self, datagram: memoryview) -> None:
        now = time.ticks_us() + CLOCK
        struct.pack_into(">iIIi", datagram, 0, self.packets + 1, now // 1000000, now % 1000000, 0)

    def last(self) -> bytes:
        """The datagram that ends it all."""
        datagram = bytearray(self.size)
        self.prepare(memoryview(datagram))
        now = time.ticks_us() + CLOCK
        struct.pack_into(">iIIi", datagram, 0, -(self.packets + 1), now // 1000000, now % 1000000, -1)
        return datagram

    def arrived(self, datagram: memoryview) -> bool:
        if self.over:
            return False
        number, seconds, micros = struct.unpack_from(">iII", datagram)
        if number < 0:
            self.over = True
            number = -number
            if number <= self.packets:  # of older clients, whose last number was used before
                return False
        elif number == 0 and not self.packets:
            self._shift = 1
        return self._count(number + self._shift, seconds * 1000000 + micros)


def pack_report(last: bytes, form: Datagrams2, size: int, seconds: float) -> bytes:
    """A server's answer to the last datagram."""
    said = bytearray(REPORT)
    said[:DATAGRAM] = last[:DATAGRAM]
    jitter = form.jitter_s
    struct.pack_into(
        ">IIIIIIIIII",
        said,
        DATAGRAM,
        _VERSION1,
        size >> 32,
        size & 0xFFFFFFFF,
        int(seconds),
        int(seconds * 1e6) % 1000000,
        form.lost,
        form.late,
        form.packets,
        int(jitter),
        int(jitter * 1e6) % 1000000,
    )
    return said


class ServerReport:
    """A server's report, read. Raises ValueError."""

    def __init__(self, data: bytes) -> None:
        if len(data) < DATAGRAM + 40:
            raise ValueError
        words = struct.unpack_from(">IIIIIIIIII", data, DATAGRAM)
        if not words[0] & _VERSION1:
            raise ValueError
        self.bytes = words[1] << 32 | words[2]
        self.seconds = words[3] + words[4] / 1e6
        self.lost, self.late, self.packets = words[5:8]
        self.jitter_s = words[8] + words[9] / 1e6
