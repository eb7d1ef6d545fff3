# SPDX-License-Identifier: MIT
"""Where in an image a PANIC happened: the address of its line (port/hal/panic.c) as a symbol of the ELF."""

from __future__ import annotations

import re
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile

from floe.image import names

_RIP = re.compile(r"^PANIC: .* rip=(0x[0-9a-f]+)(?:.* offset=(0x[0-9a-f]+))?", re.MULTILINE)
_STEP, _FIRST = 2 << 20, 512 << 30  # an offset is a multiple of the one, and no less than the other (port/boot/place.c)


def place(elf: Path, serial: str) -> str | None:
    """ "NAME+0x12 (rip 0x114dc8)" for the first PANIC line of a 16550's text; None without such a line or symbol."""
    found = _RIP.search(serial)
    symbol = symbol_at(elf, _linked(found)) if found else None
    return f"{symbol} (rip {found[1]})" if found and symbol else None


def _linked(panic: re.Match[str]) -> int:
    """The address in the ELF: the monitor's own are never moved. A line of the monitor's has no offset: what it names
    is taken to be the image's."""
    rip, offset = int(panic[1], 16), int(panic[2] or "0", 16)
    if panic[2]:
        return rip - offset if rip >= offset else rip
    return rip % _STEP if rip >= _FIRST else rip


def stood(elf: Path, serial: str) -> str:
    """Where a guest stood that was interrupted from outside (hypervisor.interrupt()): the function, and the Python
    frames. Empty when it did not say."""
    found = _RIP.search(serial)
    if found is None:
        return ""
    symbol = symbol_at(elf, _linked(found)) or "no function of the image's"
    idle = symbol.startswith("service_idle")
    frames = [line for line in serial[found.end() :].splitlines() if line.startswith('  File "')]
    text = "it waited" if idle else f"it stood in {symbol} (rip {found[1]})"
    return "\n".join([text + (", in Python, innermost call first:" if frames else ""), *frames])


def _is_code(elf: ELFFile, address: int) -> bool:
    return any(
        s["p_flags"] & P_FLAGS.PF_X and 0 <= address - s["p_vaddr"] < s["p_memsz"]
        for s in elf.iter_segments(type="PT_LOAD")
    )


def symbol_at(path: Path, address: int) -> str | None:
    """The function that holds an address, as "NAME+0x12". None: no such function, or no symbols to be read."""
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            if not _is_code(elf, address):
                return None
            below = [
                (s.value, s.name)
                for s in names.read(elf)
                if s.kind in ("STT_FUNC", "STT_NOTYPE") and s.name and s.value <= address
            ]
    except (OSError, ELFError):
        return None
    start, name = max(below, default=(0, ""))
    return f"{name}+{address - start:#x}" if name else None
