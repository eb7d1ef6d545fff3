# SPDX-License-Identifier: MIT
"""The other end of net_user.c: what a test does with a network card, whatever driver it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from tests.c.support.harness import EAGAIN, EIO, Harness

F_TX_CSUM, F_TX_TSO4, F_TX_TSO6, F_RX_CSUM = 1, 2, 4, 8
OFFLOAD = ("csum", "gso", "size", "hdr", "start", "offset")
SMALL_VM, LARGE_VM = 8 << 20, 64 << 20


@dataclass
class Frame:
    """offload: what was left to do: csum, start, offset, gso, size. headroom: bytes in front that are the frame's, too."""

    cookie: int
    csum_good: bool
    segments: int
    data: bytes
    offload: tuple[int, ...] = ()
    headroom: int = 0


def pattern(n: int) -> bytes:
    """What the bytes of a frame are that `send` queues."""
    return bytes((i * 7 + i // 251) & 255 for i in range(n))


class Nic(NamedTuple):
    """A card as netdev_t describes it. mac: in hexadecimal."""

    mac: str
    mtu: int
    features: int
    dead: bool


class Stats(NamedTuple):
    """netdev_stats_t, in its order."""

    rx_frames: int
    rx_bytes: int
    rx_dropped: int
    tx_frames: int
    tx_bytes: int
    tx_full: int
    kicks: int


class NetUser(ABC):
    """Takes and sends frames through one card's driver. A subclass is the other side, the device's or the backend's."""

    def __init__(self, h: Harness, index: int) -> None:
        self.h, self.index = h, index

    @abstractmethod
    def notified(self) -> int:
        """How often the driver has notified the other side."""

    @abstractmethod
    def late_answer(self) -> None:
        """The other side says that it has received something, as if the card were not dead."""

    def nic(self) -> Nic:
        mac, mtu, features, dead = self.h.do("nic", self.index).split()
        return Nic(mac, int(mtu), int(features), dead == "1")

    def stats(self) -> Stats:
        return Stats(*self.h.numbers("stats", self.index))

    def take(self) -> Frame | int:
        answer = self.h.do("rx", self.index).split()
        if answer[0] != "0":
            return int(answer[0])
        data, *offload, headroom = bytes.fromhex(answer[4]), *map(int, answer[5:])
        return Frame(int(answer[1]), answer[2] == "1", int(answer[3]), data, tuple(offload), headroom)

    def frame(self) -> Frame:
        frame = self.take()
        assert isinstance(frame, Frame), (frame, self.h.log)
        return frame

    def give_back(self, frame: Frame) -> None:
        self.h.do("rxret", self.index, frame.cookie)

    def send(self, cookie: int, *lengths: int, **offload: int) -> int:
        """Queue a frame of segments of these lengths. offload: csum, gso, size, hdr, start, offset; 0 if not given."""
        assert offload.keys() <= set(OFFLOAD)
        return self.h.number("tx", self.index, cookie, *[offload.get(k, 0) for k in OFFLOAD], *lengths)

    def returned(self) -> int:
        return self.h.number("txret", self.index)

    def arm(self) -> int:
        return self.h.number("arm", self.index)

    def kick(self) -> int:
        """Returns how many notifications it made."""
        before = self.notified()
        self.h.do("kick", self.index)
        return self.notified() - before

    def never_completed(self) -> None:
        """Part of a frame was received, and the rest does not come: the card is dead after a second."""
        assert self.take() == EAGAIN
        self.h.do("hal", "advance", 900_000_000)
        assert self.take() == EAGAIN
        self.h.do("hal", "advance", 200_000_000)
        assert self.take() == EIO
        self.dead("received frame never completed")

    def dead(self, reason: str) -> None:
        """The card is dead for good, for the reason given; nothing that the other side does matters now."""
        assert any(reason in line for line in self.h.log), self.h.log
        assert self.nic().dead
        lines = len(self.h.log)
        assert self.take() == EIO and self.send(1, 60) == EIO and self.returned() == 0
        assert self.arm() == 0 and self.h.number("link", self.index) == 0
        notified = self.notified()
        self.h.do("kick", self.index)
        self.late_answer()
        assert self.take() == EIO
        assert self.notified() == notified
        assert len(self.h.log) == lines, "one line a death"
