# SPDX-License-Identifier: MIT
"""modules/virtio/virtio_net.c against a card that lies, lacks things or dies."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.c.support.harness import EAGAIN, EINVAL, EIO, ENODEV, ENOMEM, ENOSPC, NET, VERSION_1, Device, Harness
from tests.c.support.netcard import ADDRESS, MAC, MTU, RX, TX, USUAL, Card
from tests.c.support.netuser import pattern


def test_receive_checksum_flag_without_the_feature_is_not_believed(card: Card) -> None:
    card.up()
    card.receive(pattern(60), flags=2)
    assert card.frame().csum_good is False


def test_an_interrupt_without_work_is_harmless(card: Card) -> None:
    card.up()
    for _ in range(1000):
        card.h.do("hal", "irq", 0)
        assert card.h.number("arm", 0) == 0
    assert card.take() == EAGAIN and not card.nic().dead


def test_device_needs_reset(card: Card) -> None:
    card.up()
    card.dev.set(status=0x4F)
    card.raise_config_irq()
    assert card.h.number("arm", 0) == 0
    card.dead("device needs a reset")


def complete(card: Card, head: int, length: int, header: bytes | None = None) -> None:
    chain = card.dev.take(RX)
    if header is not None:
        card.dev.fill(RX, chain, header)
    card.dev.used(RX, head if head >= 0 else chain.head, length)


RX_LIES: dict[str, tuple[Callable[[Card], None], str]] = {
    "id beyond": (lambda c: complete(c, 256, 60), "used id beyond the queue"),
    "id huge": (lambda c: complete(c, 0xFFFFFFFF, 60), "used id beyond the queue"),
    "index jumps": (lambda c: c.dev.jump(RX, 257), "used index jumped"),
    "index backwards": (lambda c: c.dev.jump(RX, -1), "used index jumped"),
    "length beyond the buffer": (lambda c: complete(c, -1, 4097), "used length beyond the buffer"),
    "length huge": (lambda c: complete(c, -1, 0xFFFFFFFF), "used length beyond the buffer"),
    "length zero": (lambda c: complete(c, -1, 0), "received frame shorter than its header"),
    "length below the header": (lambda c: complete(c, -1, 11), "received frame shorter than its header"),
    "no buffer at all": (lambda c: complete(c, -1, 72, bytes(12)), "in an impossible number of buffers"),
    "more buffers than a frame has": (
        lambda c: complete(c, -1, 4096, bytes(10) + struct.pack("<H", 21)),
        "in an impossible number of buffers",
    ),
    "65535 buffers": (
        lambda c: complete(c, -1, 4096, bytes(10) + b"\xff\xff"),
        "in an impossible number of buffers",
    ),
}


@pytest.mark.parametrize("lie", RX_LIES)
def test_receive_lies(card: Card, lie: str) -> None:
    deed, reason = RX_LIES[lie]
    card.up()
    deed(card)
    assert card.take() == EIO
    card.dead(reason)


def test_receive_id_twice(card: Card) -> None:
    card.up()
    card.receive(pattern(60))
    card.dev.used(RX, 0, 72)
    card.frame()
    assert card.take() == EIO
    card.dead("used id not outstanding")


def test_more_buffers_than_posted(card: Card) -> None:
    card.dev.set(queue0__max=4)
    card.up()
    complete(card, -1, 4096, bytes(10) + struct.pack("<H", 5))
    assert card.take() == EIO
    card.dead("in an impossible number of buffers")


def test_a_frame_never_completed(card: Card) -> None:
    card.up()
    complete(card, -1, 4096, bytes(10) + struct.pack("<H", 3))
    card.never_completed()


def test_its_second_begins_with_its_first_buffer(card: Card) -> None:
    """Long after the card came up, and after frames that were whole."""
    card.up()
    card.h.do("hal", "advance", 10_000_000_000)
    assert card.take() == EAGAIN
    card.receive(pattern(5000), 2)
    card.give_back(card.frame())
    card.h.do("hal", "advance", 10_000_000_000)
    assert card.take() == EAGAIN
    complete(card, -1, 4096, bytes(10) + struct.pack("<H", 3))
    card.never_completed()


@pytest.mark.parametrize(("head", "length", "reason"), [
    (300, 0, "used id beyond the queue"),
    (7, 0, "used id not outstanding"),
])  # fmt: skip
def test_send_lies(card: Card, head: int, length: int, reason: str) -> None:
    card.up()
    assert card.send(1, 60) == 0
    card.dev.take(TX)
    card.dev.used(TX, head, length)
    assert card.returned() == 0
    card.dead(reason)


def test_a_length_for_what_was_sent_is_no_lie(card: Card) -> None:
    """Cloud Hypervisor gives the bytes that it sent."""
    card.up()
    assert card.send(1, 60) == 0
    card.dev.take(TX)
    card.dev.used(TX, 0, 72)
    assert card.returned() == 1


def test_descriptors_changed_after_submit(card: Card) -> None:
    card.up()
    assert card.send(1, 20, 40) == 0
    card.dev.take(TX)
    chain = card.dev.take(RX)
    for queue in (RX, TX):
        card.h.do("scribble", card.dev.index, queue, 0xFF)
    card.dev.fill(RX, chain, bytes(10) + b"\x01\x00" + pattern(60))
    card.dev.used(RX, chain.head, 72)
    card.dev.used(TX, 0, 0)
    assert card.frame().data == pattern(60) and card.returned() == 1


@pytest.mark.parametrize("mac", ["000000000000", "ffffffffffff", "010000000001"])
def test_absurd_mac(card: Card, mac: str) -> None:
    card.configure(bytes.fromhex(mac), 1, 1500)
    assert card.probe() == EINVAL
    assert "MAC address is a group's or zero" in card.h.log[0]


@pytest.mark.parametrize("offered", [0, 67])
def test_absurd_mtu(card: Card, offered: int) -> None:
    card.dev.set(features=USUAL | MTU)
    card.configure(ADDRESS, 1, offered)
    assert card.probe() == EINVAL
    assert "MTU below 68" in card.h.log[0]


@pytest.mark.parametrize("queue", [0, 1])
@pytest.mark.parametrize(
    ("most", "error", "reason"),
    [(0, ENODEV, "queue missing"), (100, EINVAL, "queue size is no power of two"), (65535, EINVAL, "power of two")],
)
def test_absurd_queue_sizes(card: Card, queue: int, most: int, error: int, reason: str) -> None:
    card.h.do("dset", card.dev.index, f"queue{queue}.max", most)
    assert card.probe() == error
    assert reason in card.h.log[0] and card.dev.get("status") == 0


@pytest.mark.parametrize("left", range(9))
def test_every_allocation_fails_once(card: Card, left: int) -> None:
    card.h.do("hal", "dma_left", left)
    result = card.probe()
    assert result == (1 if left == 8 else ENOMEM)
    assert card.dev.get("status") == (0x0F if left == 8 else 0)


def test_no_interrupt_left(card: Card) -> None:
    card.h.do("hal", "irqs_left", 0)
    assert card.probe() == ENOSPC
    assert "no interrupt to be had" in card.h.log[0]


def test_a_broken_card_does_not_keep_the_next_one_down(h: Harness) -> None:
    for i in range(2):
        device = Device(h, "pci", NET)
        device.set(features=USUAL if i else VERSION_1 | MAC)
        device.config(0, (ADDRESS if i else bytes(6)) + b"\x01\x00")
    assert h.number("probe", "virtio-net") == EINVAL
    assert h.do("nic", 0).startswith(ADDRESS.hex())


def test_random_lives(h: Harness) -> None:
    assert h.do("fuzz", "net", 5000, 1500).splitlines()[-1] == "0"
