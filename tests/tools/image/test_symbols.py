# SPDX-License-Identifier: MIT
"""A PANIC line's address becomes a symbol of the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from floe.image import names, symbols


def _address(elf: Path, name: str) -> int:
    with elf.open("rb") as file:
        return next(symbol.value for symbol in names.read(ELFFile(file)) if symbol.name == name)


def test_address_inside_a_function_names_it(build: Callable[..., Path]) -> None:
    elf = build("hello")
    at = _address(elf, "mp_execute_bytecode")
    assert symbols.symbol_at(elf, at) == "mp_execute_bytecode+0x0"
    assert symbols.symbol_at(elf, at + 0x21) == "mp_execute_bytecode+0x21"


def test_address_below_every_symbol_has_no_name(build: Callable[..., Path]) -> None:
    assert symbols.symbol_at(build("hello"), 0) is None


@pytest.mark.parametrize("name", ["link_data", "boot_stack_top", "link_end"])
def test_address_outside_of_the_code_has_no_name(build: Callable[..., Path], name: str) -> None:
    """What jumped into data, or runs native code from the heap, is in no function, however near the last symbol is."""
    elf = build("hello")
    at = _address(elf, name) + 0x53
    assert symbols.symbol_at(elf, at) is None
    assert symbols.place(elf, f"PANIC: invalid opcode, vector 6 error 0x0 rip={at:#x}\r\n") is None


def test_file_without_symbols_has_no_names(tmp_path: Path) -> None:
    other = tmp_path / "x"
    other.write_bytes(b"no ELF")
    assert symbols.symbol_at(other, 0x100000) is None
    assert symbols.symbol_at(tmp_path / "missing", 0x100000) is None


def test_first_panic_line_is_placed(build: Callable[..., Path]) -> None:
    elf = build("hello")
    at = _address(elf, "mp_execute_bytecode") + 4
    serial = f"noise\r\nPANIC: page fault, vector 14 error 0x4 rip={at:#x} cr2=0x8\r\nPANIC: x rip=0x1\r\n"
    assert symbols.place(elf, serial) == f"mp_execute_bytecode+0x4 (rip {at:#x})"


def test_no_panic_line_is_no_place(build: Callable[..., Path]) -> None:
    assert symbols.place(build("hello"), "all is well\n") is None


@pytest.mark.parametrize("offset", [0, 2 << 20, 0x3E43B6200000])
def test_an_image_that_was_moved(build: Callable[..., Path], offset: int) -> None:
    """By what the line says; the monitor's own lines do not say it."""
    elf = build("hello")
    at = _address(elf, "mp_execute_bytecode") + 4 + offset
    told = f"PANIC: page fault, vector 14 error 0x4 rip={at:#x} cr2=0x8 r15=0x1 offset={offset:#x}\r\n"
    assert symbols.place(elf, told) == f"mp_execute_bytecode+0x4 (rip {at:#x})"
    if offset != 2 << 20:
        line = f"PANIC: fault inside a panic, vector 0xe rip=0x1, after vector 0xe rip={at:#x}\r\n"
        assert symbols.place(elf, line) == f"mp_execute_bytecode+0x4 (rip {at:#x})"
    elsewhere = told.replace(f"{at:#x}", f"{at + (2 << 20):#x}")
    assert symbols.place(elf, elsewhere) is None, "as far from an image as its code is from a multiple"
    idle = f"PANIC: interrupt, vector 32 error 0x0 rip={_address(elf, 'service_idle') + 2:#x} offset={offset:#x}\r\n"
    assert symbols.stood(elf, idle) == "it waited", "ring 0 is not moved"
