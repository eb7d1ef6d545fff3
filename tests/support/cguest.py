# SPDX-License-Identifier: MIT
"""Guests in C on the port alone, without MicroPython: one file that has main() and floe_app."""

from __future__ import annotations

import json
from pathlib import Path

from floe import __version__
from floe.build import link, port_archive
from floe.image import elf

MEMORY = 16 << 20


def build(source: Path, folder: Path) -> Path:
    """Compile and link a guest as an application is, in this folder; the ELF, for boot(). Raises BuildError."""
    archive = port_archive.load("sealed")
    content = {
        "format": 1,
        "floe": __version__,
        "name": source.stem,
        "version": "1",
        "profile": "sealed",
        "compiler": False,
        "main": source.name,
        "memory": MEMORY,
        **{key: [] for key in ("modules", "drivers", "frozen", "packages", "upstream")},
        "data": {},
    }
    raw = folder / "notes.bin"
    raw.write_bytes(elf.notes(json.dumps(content).encode()))
    note = folder / "notes.S"
    note.write_text(f'    .section .note.floe, "a", @note\n    .balign 4\n    .incbin "{raw}"\n')
    printf = Path(__file__).with_name("guestprintf.c")
    objects = link.compile_sources(archive, folder, [source, printf, note])
    out = folder / f"{source.stem}.elf"
    link.link(archive, [*map(str, objects), str(archive.library)], out, folder / "link.map")
    elf.seal(out)
    return out
