# SPDX-License-Identifier: MIT
"""A virtio network card for the tests: the driver's verbs on one side, an honest device's deeds on the other."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness import EIO, EVENT_IDX, VERSION_1, Device, Harness

CSUM, GUEST_CSUM, MTU, MAC = 1 << 0, 1 << 1, 1 << 3, 1 << 5
GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6 = 1 << 7, 1 << 8, 1 << 11, 1 << 12
MRG_RXBUF, STATUS = 1 << 15, 1 << 16
EVERYTHING = 0xFFFFFFFF
USUAL = VERSION_1 | MAC | MRG_RXBUF | STATUS | EVENT_IDX
F_TX_CSUM, F_TX_TSO4, F_TX_TSO6, F_RX_CSUM = 1, 2, 4, 8
RX, TX = 0, 1
OFFLOAD = ("csum", "gso", "size", "hdr", "start", "offset")
SMALL_VM, LARGE_VM = 8 << 20, 64 << 20
ADDRESS = bytes.fromhex("525400123456")


@dataclass
class Frame:
    cookie: int
    csum_good: bool
    segments: int
    data: bytes


class Card:
    """A card, its driver, and the device's side of it."""

    def __init__(self, h: Harness, device: Device) -> None:
        self.h = h
        self.dev = device
        self.configure(ADDRESS, link=1, mtu=1500)
        device.set(features=USUAL)

    def configure(self, mac: bytes, link: int, mtu: int) -> None:
        self.dev.config(0, mac + struct.pack("<HHH", link, 1, mtu))

    def probe(self) -> int:
        return self.h.number("probe", "virtio-net")

    def up(self) -> Card:
        assert self.probe() == 1, self.h.log
        return self

    def nic(self) -> tuple[bytes, int, int, bool]:
        mac, mtu, features, dead = self.h.do("nic", 0).split()
        return bytes.fromhex(mac), int(mtu), int(features), dead == "1"

    def take(self) -> Frame | int:
        answer = self.h.do("rx", 0).split()
        if answer[0] != "0":
            return int(answer[0])
        return Frame(int(answer[1]), answer[2] == "1", int(answer[3]), bytes.fromhex(answer[4]))

    def frame(self) -> Frame:
        frame = self.take()
        assert isinstance(frame, Frame), frame
        return frame

    def give_back(self, frame: Frame) -> None:
        self.h.do("rxret", 0, frame.cookie)

    def receive(self, data: bytes, buffers: int = 1, flags: int = 0) -> None:
        """An honest reception: header, then the frame spread over so many buffers, all but the last one full."""
        rest = struct.pack("<BBHHHHH", flags, 0, 0, 0, 0, 0, buffers) + data
        for _ in range(buffers):
            chain = self.dev.take(RX)
            part, rest = rest[: chain.writable[0]], rest[chain.writable[0] :]
            self.dev.fill(RX, chain, part)
            self.dev.used(RX, chain.head, len(part))
        assert rest == b""

    def send(self, cookie: int, *lengths: int, **offload: int) -> int:
        """Queue a frame of segments of these lengths. offload: csum, gso, size, hdr, start, offset; 0 if not given."""
        assert offload.keys() <= set(OFFLOAD)
        return self.h.number("tx", 0, cookie, *[offload.get(k, 0) for k in OFFLOAD], *lengths)

    def returned(self) -> int:
        return self.h.number("txret", 0)

    def raise_config_irq(self) -> None:
        self.dev.set(irq_status=2)
        self.h.do("hal", "irq", 0)  # mmio: the only one; PCI: the first is the configuration's

    def dead(self, reason: str) -> None:
        """The card is dead for good, for the reason given, and was reset; nothing it does matters now."""
        assert any(reason in line for line in self.h.log), self.h.log
        assert self.nic()[3]
        assert self.dev.get("status") == 0
        lines = len(self.h.log)
        assert self.take() == EIO and self.send(1, 60) == EIO and self.returned() == 0
        assert self.h.number("arm", 0) == 0 and self.h.number("link", 0) == 0
        notified = self.dev.get("queue0.notified"), self.dev.get("queue1.notified")
        self.h.do("kick", 0)
        self.dev.jump(RX, 1)  # completion after reset
        assert self.take() == EIO
        assert notified == (self.dev.get("queue0.notified"), self.dev.get("queue1.notified"))
        assert len(self.h.log) == lines, "one line a death"


def pattern(n: int) -> bytes:
    return bytes((i * 7 + i // 251) & 255 for i in range(n))
