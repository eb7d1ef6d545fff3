# SPDX-License-Identifier: MIT
"""modules/virtio/transport_mmio.c and the dance of virtio.c: command line, registers, hostile ones."""

from __future__ import annotations

import pytest

from tests.c.support.harness import (
    EIO,
    ENODEV,
    ENOTSUP,
    ETIMEDOUT,
    NET,
    RNG,
    VERSION_1,
    Device,
    Harness,
)

GOOD = "virtio_mmio.device=512@0xfeb00000:5"
MAC, ACCESS_PLATFORM = 1 << 5, 1 << 33


@pytest.fixture
def card(h: Harness) -> Device:
    device = Device(h, "mmio", NET)
    device.set(features=VERSION_1 | MAC)
    device.config(0, bytes.fromhex("525400123456"))
    return device


def probe(h: Harness) -> int:
    return h.number("probe", "virtio-net")


@pytest.mark.parametrize(
    "value",
    [
        "512@0xfeb00000:5",
        "512@0xFEB00000:5",
        "0x200@0xfeb00000:0x5",
        "4K@0xfeb00000:5",
        "4k@0xfeb00000:5:0",
        "512@4272947200:5",
    ],
)
def test_words_that_name_a_device(h: Harness, card: Device, value: str) -> None:
    h.do("hal", "cmdline", f"console=x virtio_mmio.device={value} env.A=b")
    assert probe(h) == 1
    assert h.log == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "@",
        "512",
        "512@",
        "512@0xfeb00000",
        "512@0xfeb00000:",
        "@0xfeb00000:5",
        "512@0x:5",
        "512@0xfeb00000:5x",
        "512@0xfeb00000;5",
        "512@0xfeb00001:5",
        "512@0:5",
        "256@0xfeb00000:5",
        "0@0xfeb00000:5",
        "512@0xffffff00:5",
        "512@0x1feb00000:5",
        "99999999999999999999@0xfeb00000:5",
        "512@0xfeb00000:99999999999",
        "-512@0xfeb00000:5",
        "5 12@0xfeb00000:5",
        "512@0xfeb00000:5:" + "0" * 80,
    ],
)
def test_words_that_do_not(h: Harness, card: Device, value: str) -> None:
    h.do("hal", "cmdline", f"virtio_mmio.device={value}")
    assert probe(h) == 0
    assert "virtio_mmio.device is SIZE@BASE:IRQ" in h.log[1]
    assert card.get("accesses") == 0


def test_no_word_no_access(h: Harness, card: Device) -> None:
    """Neither on the command line nor in ACPI's tables."""
    h.do("hal", "cmdline", "console=x")
    assert probe(h) == 0
    assert card.get("accesses") == 0


def test_a_table_is_a_word(h: Harness, card: Device) -> None:
    """Where the command line has none."""
    h.do("hal", "cmdline", "console=x")
    h.do("hal", "table", 512, 0xFEB00000, 7)
    assert probe(h) == 1 and h.log == []


@pytest.mark.parametrize(("size", "base"), [(256, 0xFEB00000), (512, 0xFEB00001), (512, 0xFFFFFF00)])
def test_a_table_that_cannot_be(h: Harness, card: Device, size: int, base: int) -> None:
    h.do("hal", "cmdline", "console=x")
    h.do("hal", "table", size, base, 7)
    assert probe(h) == 0
    assert card.get("accesses") == 0


def test_words_come_before_tables(h: Harness, card: Device) -> None:
    h.do("hal", "table", 512, 0xFEB00200, 7)
    assert probe(h) == 1 and h.log == []


def test_wrong_magic(h: Harness, card: Device) -> None:
    card.set(magic=0x12345678)
    assert probe(h) == 0
    assert "no virtio device there" in h.log[1]
    assert card.get("accesses") == 1


def test_placeholder_and_foreign_devices_cost_little(h: Harness, card: Device) -> None:
    card.set(type=0)
    assert probe(h) == 0
    assert card.get("accesses") == 2 and h.log == []


@pytest.mark.parametrize("version", [0, 3, 0xFFFFFFFF])
def test_layouts_that_nobody_knows(h: Harness, card: Device, version: int) -> None:
    card.set(version=version)
    assert probe(h) == EIO
    assert "register layout is neither version 1 nor 2" in h.log[0]


def test_legacy_features(h: Harness, card: Device) -> None:
    card.set(features=MAC)
    assert probe(h) == ENOTSUP
    assert "virtio 1.x is needed" in h.log[0]


def test_features_refused(h: Harness, card: Device) -> None:
    """What the device insists on is among what it offers and we left out."""
    card.set(features=VERSION_1 | MAC | 1 << 34 | 1 << 63, features_refused=1)
    assert probe(h) == ENOTSUP
    assert h.log == ["virtio-mmio@feb00000: features refused; it offers, too, 0x8000000400000000 RING_PACKED"]


def test_a_device_behind_an_iommu(h: Harness, card: Device) -> None:
    card.set(features=VERSION_1 | MAC | ACCESS_PLATFORM)
    assert probe(h) == 1
    assert card.get("driver_features") == VERSION_1 | MAC | ACCESS_PLATFORM
    assert h.log == []


@pytest.mark.parametrize("bits", [MAC, 1 << 15, 0xFFFF])
def test_features_that_toggle_do_not_confuse_us(h: Harness, card: Device, bits: int) -> None:
    """The device is held to what was read once; what it accepts of it is its word at FEATURES_OK."""
    card.set(features_toggle=bits)
    assert probe(h) in (1, ENOTSUP)


def test_version_toggles(h: Harness, card: Device) -> None:
    card.set(features_toggle=VERSION_1)
    assert probe(h) == ENOTSUP


def test_reset_never_acknowledged(h: Harness, card: Device) -> None:
    card.set(reset_stuck=1, status=0x0F)
    assert probe(h) == ETIMEDOUT
    assert "reset not acknowledged" in h.log[0]
    assert h.number("clock") < 200_000_000


def test_configuration_never_stable(h: Harness, card: Device) -> None:
    card.set(generation_moves=1)
    assert probe(h) == EIO
    assert "configuration never stable" in h.log[0]
    assert card.get("accesses") < 150


def test_configuration_space_too_small(h: Harness, card: Device) -> None:
    h.do("hal", "cmdline", "virtio_mmio.device=260@0xfeb00000:5")
    assert probe(h) == EIO
    assert "configuration space too small" in h.log[0]


def test_interrupt_input_that_does_not_exist(h: Harness, card: Device) -> None:
    h.do("hal", "cmdline", "virtio_mmio.device=512@0xfeb00000:99")
    assert probe(h) == ENODEV
    assert "no interrupt to be had" in h.log[0]


def test_more_devices_than_we_keep(h: Harness) -> None:
    words = []
    for i in range(18):
        h.number("mmio", 0xFEB00000 + 512 * i, RNG)
        words.append(f"virtio_mmio.device=512@{0xFEB00000 + 512 * i:#x}:5")
    h.do("hal", "cmdline", *words)
    assert h.number("probe", "virtio-rng") == 1
    assert len([line for line in h.log if "too many devices" in line]) == 2


def test_devices_are_looked_for_once(h: Harness, card: Device) -> None:
    assert h.number("probe", "virtio-rng") == 0
    looked = card.get("accesses")
    assert looked == 3
    assert h.number("probe", "virtio-console") == 0
    assert card.get("accesses") == looked


def test_probe_costs_few_exits(h: Harness, card: Device) -> None:
    """Each register access is an exit of tens of microseconds: more of them is a regression of the boot time."""
    assert probe(h) == 1
    assert card.get("accesses") <= 51
