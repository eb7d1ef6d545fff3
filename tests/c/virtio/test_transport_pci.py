# SPDX-License-Identifier: MIT
"""modules/virtio/transport_pci.c: capabilities, BARs, MSI-X and notification addresses, honest and not."""

from __future__ import annotations

import struct

import pytest

from tests.c.support.harness import EIO, ENOSPC, ENOTSUP, ETIMEDOUT, NET, VERSION_1, Device, Harness

MAC = 1 << 5
MSIX, COMMON, ISR, DEVICE, NOTIFY = 0x40, 0x50, 0x60, 0x70, 0x80  # where fake_device.c puts the capabilities


@pytest.fixture
def card(h: Harness) -> Device:
    device = Device(h, "pci", NET)
    device.set(features=VERSION_1 | MAC)
    device.config(0, bytes.fromhex("525400123456"))
    return device


def probe(h: Harness) -> int:
    return h.number("probe", "virtio-net")


def refused(h: Harness, reason: str) -> None:
    assert probe(h) == EIO
    assert reason in h.log[0], h.log
    assert len(h.log) == 1


def test_comes_up(h: Harness, card: Device) -> None:
    assert probe(h) == 1
    assert h.log == []
    assert card.get("status") == 0x0F


def test_interrupts(h: Harness, card: Device) -> None:
    """Configuration on vector 0, both queues on vector 1, each to an irq of its own, unmasked."""
    card.space(MSIX + 3, b"\x40")  # firmware left the function masked
    assert probe(h) == 1
    assert card.get("config_vector") == 0
    assert card.get("queue0.vector") == card.get("queue1.vector") == 1
    table = bytes.fromhex(h.do("msix", card.index))
    entries = [struct.unpack_from("<QII", table, 16 * i) for i in range(3)]
    assert entries[0] == (0xFEE00000, 0x40, 0) and entries[1] == (0xFEE00000, 0x41, 0)
    assert entries[2] == (0, 0, 0)
    control = int.from_bytes(bytes.fromhex(h.do("peek", card.index, MSIX + 2, 2)), "little")
    assert control >> 14 == 0b10, "MSI-X enabled, function not masked"


def test_a_single_vector_is_shared(h: Harness, card: Device) -> None:
    card.space(MSIX + 2, struct.pack("<H", 0))
    assert probe(h) == 1
    assert card.get("queue0.vector") == card.get("config_vector") == 0
    card.config(6, b"\x01\x00")
    h.do("hal", "irq", 0)
    assert h.number("arm", 0) == 0


def test_transitional_device_with_the_modern_interface(h: Harness, card: Device) -> None:
    card.space(0x02, struct.pack("<H", 0x1000))
    card.space(0x2E, struct.pack("<H", NET))
    assert probe(h) == 1


@pytest.mark.parametrize(("vendor", "device"), [(0x8086, 0x1041), (0x1AF4, 0x0FFF), (0x1AF4, 0x1080), (0x1AF4, 0x1042)])
def test_foreign_functions_are_left_alone(h: Harness, card: Device, vendor: int, device: int) -> None:
    card.space(0, struct.pack("<HH", vendor, device))
    assert probe(h) == 0
    assert card.get("accesses") == 0 and h.log == []


@pytest.mark.parametrize("loop", [MSIX, COMMON, NOTIFY])
def test_capability_list_loops(h: Harness, card: Device, loop: int) -> None:
    card.space(NOTIFY + 1, bytes([loop]))
    refused(h, "capability list loops")
    assert card.get("space_reads") < 100


@pytest.mark.parametrize("next_cap", [0x01, 0x3C, 0x03])
def test_capability_list_ends_in_the_header(h: Harness, card: Device, next_cap: int) -> None:
    card.space(NOTIFY + 1, bytes([next_cap]))
    assert probe(h) == 1


@pytest.mark.parametrize("last", [0xFC, 0xF8, 0xFF])
def test_capability_at_the_end_of_the_space(h: Harness, card: Device, last: int) -> None:
    """A structure that would run past 256 bytes is not read past them (the fake ends such a process)."""
    card.space(NOTIFY + 1, bytes([last]))
    card.space(0xF8, b"\x09\x00\x10\x05\x00\x00\x00\x00")
    assert probe(h) == 1


@pytest.mark.parametrize("kind", [1, 2, 4])
def test_vendor_capability_cut_off_by_the_end(h: Harness, card: Device, kind: int) -> None:
    card.space(0x34, b"\xfc")
    card.space(0xFC, bytes([9, 0x40, 16, kind]))
    refused(h, "capability beyond the configuration space")


def test_no_capability_list(h: Harness, card: Device) -> None:
    card.space(0x06, b"\x00\x00")
    refused(h, "no virtio 1.x interface: disable-modern=off has it")


@pytest.mark.parametrize("missing", [COMMON, NOTIFY])
def test_structure_missing(h: Harness, card: Device, missing: int) -> None:
    card.space(missing + 3, b"\x05")
    refused(h, "no virtio 1.x interface")


def test_device_structure_missing(h: Harness, card: Device) -> None:
    card.space(DEVICE + 3, b"\x05")
    assert probe(h) == EIO
    assert "configuration space too small" in h.log[0]


def test_no_msix(h: Harness, card: Device) -> None:
    card.space(MSIX, b"\x05")
    refused(h, "no MSI-X")


@pytest.mark.parametrize("cap", [COMMON, DEVICE, NOTIFY])
@pytest.mark.parametrize(
    ("bar", "offset", "length"),
    [
        (6, 0, 0x38),
        (255, 0, 0x38),
        (0, 0, 0x38),
        (4, 0x4000, 0x38),
        (4, 0x3FFC, 0x38),
        (4, 0xFFFFFFFC, 0x38),
        (4, 0, 0x4001),
        (4, 4, 0xFFFFFFFF),
        (4, 1, 0x38),
    ],
)
def test_structure_outside_its_bar(h: Harness, card: Device, cap: int, bar: int, offset: int, length: int) -> None:
    card.space(cap + 4, bytes([bar]))
    card.space(cap + 8, struct.pack("<II", offset, length))
    refused(h, "structure outside its BAR")


def test_common_structure_too_short(h: Harness, card: Device) -> None:
    card.space(COMMON + 12, struct.pack("<I", 0x37))
    refused(h, "structure outside its BAR")


@pytest.mark.parametrize("bar", ["bar_size[1]", "bar_size[4]"])
def test_bar_missing(h: Harness, card: Device, bar: str) -> None:
    h.do("dset", card.index, bar, 0)
    refused(h, "outside its BAR")


def test_structures_in_neighbouring_bars(h: Harness, card: Device) -> None:
    h.do("dset", card.index, "bar_size[5]", 0x4000)
    card.space(DEVICE + 4, b"\x05")
    assert probe(h) == 1


@pytest.mark.parametrize("table", [6, 0x1001, 0xFF9, 0xFFFFFFF9])
def test_msix_table_outside_its_bar(h: Harness, card: Device, table: int) -> None:
    card.space(MSIX + 4, struct.pack("<I", table))
    refused(h, "MSI-X table outside its BAR")


@pytest.mark.parametrize(
    ("multiplier", "off", "result"),
    [
        (4, 1, 1),
        (0, 1, 1),
        (2, 0x7FF, 1),
        (4, 0x3FF, 1),
        (4, 0x400, EIO),
        (2, 0x800, EIO),
        (0xFFFFFFFF, 0xFFFF, EIO),
        (1, 1, EIO),
    ],
)
def test_notification_address(h: Harness, card: Device, multiplier: int, off: int, result: int) -> None:
    card.space(NOTIFY + 16, struct.pack("<I", multiplier))
    card.set(queue1__notify_off=off)
    assert probe(h) == result
    assert result == 1 or "notification address outside its structure" in h.log[0]


def test_queue_vector_refused(h: Harness, card: Device) -> None:
    card.set(queue1__refuse_vector=1)
    assert probe(h) == EIO
    assert "queue interrupt refused" in h.log[0]


def test_configuration_vector_refused(h: Harness, card: Device) -> None:
    card.set(refuse_config_vector=1)
    assert probe(h) == EIO
    assert "no interrupt to be had" in h.log[0]


@pytest.mark.parametrize("left", [0, 1])
def test_no_interrupt_left(h: Harness, card: Device, left: int) -> None:
    h.do("hal", "irqs_left", left)
    assert probe(h) == ENOSPC


def test_the_dance_refused(h: Harness, card: Device) -> None:
    card.set(features_refused=1)
    assert probe(h) == ENOTSUP


def test_reset_never_acknowledged(h: Harness, card: Device) -> None:
    card.set(reset_stuck=1, status=0x0F)
    assert probe(h) == ETIMEDOUT
    assert h.number("clock") < 200_000_000


def test_configuration_never_stable(h: Harness, card: Device) -> None:
    card.set(generation_moves=1)
    assert probe(h) == EIO
    assert "configuration never stable" in h.log[0]
