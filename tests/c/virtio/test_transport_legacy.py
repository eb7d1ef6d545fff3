# SPDX-License-Identifier: MIT
"""modules/virtio/transport_mmio.c on register layout version 1, virtio 1.2 clause 4.2.4: what plain QEMU gives a microvm.

An access to a register that only version 2 has ends the harness (fake_device.c).
"""

from __future__ import annotations

import pytest

from tests.c.support.harness import BLOCK, CONSOLE, EIO, EVENT_IDX, NET, RNG, VERSION_1, Device, Harness
from tests.c.support.netcard import EVERYTHING, MRG_RXBUF, RX, TX, USUAL, Card
from tests.c.support.netuser import pattern

LIVE = 0x07  # ACKNOWLEDGE, DRIVER, DRIVER_OK: FEATURES_OK came with version 2


@pytest.fixture
def legacy(h: Harness) -> Device:
    device = Device(h, "mmio", NET)
    device.set(version=1)
    return device


def legacy_card(h: Harness, legacy: Device, features: int) -> Card:
    card = Card(h, legacy)
    legacy.set(features=features & ~VERSION_1)
    return card.up()


@pytest.mark.parametrize(("features", "header"), [(USUAL, 12), (USUAL & ~MRG_RXBUF, 10)])
@pytest.mark.parametrize("most", [2, 64, 1024])
def test_frames(h: Harness, legacy: Device, features: int, header: int, most: int) -> None:
    """Without mergeable buffers the header has no count of them. Queues lie where the device looks for them."""
    legacy.set(queue0__max=most, queue1__max=most)
    card = legacy_card(h, legacy, features)
    assert legacy.get("driver_features") == features & ~VERSION_1
    assert legacy.get("status") == LIVE
    for length in (14, 60, 1514, 4096 - header):
        chain = legacy.take(RX)
        head = bytes(header) if header == 10 else bytes(10) + b"\x01\x00"
        legacy.fill(RX, chain, head + pattern(length))
        legacy.used(RX, chain.head, header + length)
        frame = card.frame()
        assert frame.data == pattern(length)
        card.give_back(frame)
    assert card.send(7, 60) == 0
    card.kick()
    sent = legacy.take(TX)
    assert sent.readable == [header, 60]
    assert legacy.read(TX, sent) == bytes(header) + pattern(60)
    legacy.used(TX, sent.head, 0)
    assert card.returned() == 7
    assert h.log == []


def test_a_header_has_a_descriptor_of_its_own(h: Harness, legacy: Device) -> None:
    card = legacy_card(h, legacy, USUAL)
    card.receive(pattern(60))
    assert h.number("pass", 0, 7) == 0
    assert legacy.take(TX).readable == [12, 60]


def test_a_header_cut_short_is_a_lie(h: Harness, legacy: Device) -> None:
    card = legacy_card(h, legacy, USUAL & ~MRG_RXBUF)
    chain = legacy.take(RX)
    legacy.used(RX, chain.head, 9)
    assert card.take() == EIO
    card.dead("received frame shorter than its header")


def test_every_feature(h: Harness, legacy: Device) -> None:
    legacy_card(h, legacy, EVERYTHING)
    assert legacy.get("driver_features") >> 32 == 0


@pytest.mark.parametrize(
    ("kind", "driver", "features"),
    [(BLOCK, "virtio-blk", 1 << 9), (CONSOLE, "virtio-console", 0), (RNG, "virtio-rng", 0)],
)
def test_other_drivers(h: Harness, kind: int, driver: str, features: int) -> None:
    device = Device(h, "mmio", kind)
    device.set(version=1, features=features | EVENT_IDX)
    if kind == BLOCK:
        h.do("disk", device.index, 2048)
    assert h.number("probe", driver) == 1
    assert device.get("status") == LIVE
    assert device.get("queue0.ready") == 1
    assert h.log == []
