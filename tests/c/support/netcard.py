# SPDX-License-Identifier: MIT
"""A virtio network card for the tests: the driver's verbs on one side, an honest device's deeds on the other."""

from __future__ import annotations

import struct

from tests.c.support.harness import EVENT_IDX, VERSION_1, Device, Harness
from tests.c.support.netuser import NetUser

CSUM, GUEST_CSUM, MTU, MAC = 1 << 0, 1 << 1, 1 << 3, 1 << 5
GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6 = 1 << 7, 1 << 8, 1 << 11, 1 << 12
MRG_RXBUF, STATUS = 1 << 15, 1 << 16
EVERYTHING = 0xFFFFFFFF
USUAL = VERSION_1 | MAC | MRG_RXBUF | STATUS | EVENT_IDX
RX, TX = 0, 1
ADDRESS = bytes.fromhex("525400123456")


class Card(NetUser):
    """A card, its driver, and the device's side of it."""

    def __init__(self, h: Harness, device: Device) -> None:
        super().__init__(h, 0)
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

    def receive(
        self,
        data: bytes,
        buffers: int = 1,
        flags: int = 0,
        gso: tuple[int, int] = (0, 0),
        csum: tuple[int, int] = (0, 0),
    ) -> None:
        """An honest reception: header, then the frame spread over so many buffers, all but the last one full. gso: type
        and size; csum: start and offset."""
        rest = struct.pack("<BBHHHHH", flags, gso[0], 0, gso[1], *csum, buffers) + data
        for _ in range(buffers):
            chain = self.dev.take(RX)
            part, rest = rest[: chain.writable[0]], rest[chain.writable[0] :]
            self.dev.fill(RX, chain, part)
            self.dev.used(RX, chain.head, len(part))
        assert rest == b""

    def notified(self) -> int:
        return self.dev.get("queue0.notified") + self.dev.get("queue1.notified")

    def late_answer(self) -> None:
        self.dev.jump(RX, 1)

    def raise_config_irq(self) -> None:
        self.dev.set(irq_status=2)
        self.h.do("hal", "irq", 0)  # mmio: the only one; PCI: the first is the configuration's

    def dead(self, reason: str) -> None:
        """Besides, it was reset."""
        assert self.dev.get("status") == 0
        super().dead(reason)
