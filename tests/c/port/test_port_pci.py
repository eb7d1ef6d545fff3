# SPDX-License-Identifier: MIT
"""port/hal/pci.c: where a device's registers are put that firmware has put out of reach, or nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.c.support.port_programs import build

SIZE = 0x4000
CONFIGURATION = (0xB0000000, 0xE0000000)  # where SeaBIOS and qboot, and UEFI, have 256 MiB of configuration space
SPAN = 256 << 20
IO_APIC = 0xFEC00000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("pci"), "pci")


def bar(program: Path, at: int) -> int:
    done = subprocess.run([program, f"{at:x}"], capture_output=True, text=True, timeout=20, check=True)
    found, told, size = (int(word, 16) for word in done.stdout.split())
    assert (told, size) == (found, SIZE)
    return found


@pytest.mark.parametrize("at", [0, 0x80000000, 0x380000000000, 0xFEC00000])
def test_registers_are_moved_to_where_nothing_is(program: Path, at: int) -> None:
    """None of firmware's places of the configuration space, which would hide them, and below the I/O APIC."""
    found = bar(program, at)
    assert 0xC0000000 <= found <= IO_APIC - SIZE
    assert all(found + SIZE <= start or found >= start + SPAN for start in CONFIGURATION)


@pytest.mark.parametrize("at", [0xC0000000, 0xFEA00000])
def test_registers_in_reach_stay(program: Path, at: int) -> None:
    assert bar(program, at) == at
