# SPDX-License-Identifier: MIT
"""Datagrams of either iperf: their numbers and times, and what these tell: loss, order, jitter (RFC 3550, A.8)."""

import struct
import time

CLOCK = time.time_ns() // 1000 - time.ticks_us()  # from ticks to microseconds since 1970


class Datagrams:
    """iperf3's: seconds, microseconds, and a number from 1 on, of 32 bits or 64."""

    def __init__(self, size: int, wide: bool = False) -> None:
        self.size = size
        self.packets = 0  # sent, or the greatest number that arrived
        self.lost = 0
        self.late = 0  # out of order
        self.omitted_packets = 0
        self.omitted_lost = 0
        self.over = False  # the last one has arrived
        self._form = ">IIQ" if wide else ">III"
        self._jitter = 0  # in sixteenths of a microsecond
        self._came = 0
        self._left = 0

    @property
    def jitter_s(self) -> float:
        return self._jitter / 16e6

    def forget(self) -> None:
        self.omitted_packets = self.packets
        self.omitted_lost = self.lost
        self.late = 0

    def prepare(self, datagram: memoryview) -> None:
        """Write what is the same in all datagrams."""

    def stamp(self, datagram: memoryview) -> None:
        """Write the next datagram's number and time."""
        now = time.ticks_us() + CLOCK
        struct.pack_into(self._form, datagram, 0, now // 1000000, now % 1000000, self.packets + 1)

    def arrived(self, datagram: memoryview) -> bool:
        """Count a datagram. False: it is none that counts."""
        seconds, micros, number = struct.unpack_from(self._form, datagram)
        return self._count(number, seconds * 1000000 + micros)

    def _count(self, number: int, left: int) -> bool:
        came = time.ticks_us()
        if self._came:
            step = abs(time.ticks_diff(came, self._came) - (left - self._left))
            self._jitter += step - ((self._jitter + 8) >> 4)
        self._came = came
        self._left = left
        if number > self.packets:
            self.lost += number - self.packets - 1
            self.packets = number
        else:
            self.late += 1
            if self.lost > 0:
                self.lost -= 1
        return True
