# SPDX-License-Identifier: MIT
"""Guests in C on the port alone, without MicroPython: one file that has main() and floe_app. With sources of the port
changed on the way, a guest shows what a protection is good for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from floe import __version__
from floe.build import link, port_archive
from floe.image import elf

MEMORY = 16 << 20
FLAGS = "port/port.mk"  # an edit of this file is one of a flag that the guest is compiled with


@dataclass(frozen=True)
class Edit:
    """A file of the port's, text that it has once, and what stands there instead."""

    file: str
    text: str
    instead: str

    def apply(self, content: str) -> str:
        assert content.count(self.text) == 1, f"{self.file} has {content.count(self.text)} times: {self.text}"
        return content.replace(self.text, self.instead)


def build(source: Path, folder: Path, edits: Iterable[Edit] = ()) -> Path:
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
    changed, flags = _changed(folder, edits, list(archive.cflags))
    sources = [source, printf, note, *changed]
    objects = link.compile_sources(replace(archive, cflags=tuple(flags)), folder, sources)
    out = folder / f"{source.stem}.elf"
    # What the objects define, the linker does not take from the library.
    link.link(archive, [*map(str, objects), str(archive.library)], out, folder / "link.map")
    elf.seal(out)
    return out


def _changed(folder: Path, edits: Iterable[Edit], flags: list[str]) -> tuple[list[Path], list[str]]:
    """Copies of the files that the edits name, and the flags to compile with: a copy finds what it includes."""
    files: dict[str, str] = {}
    for edit in edits:
        files[edit.file] = edit.apply(files.get(edit.file) or (port_archive.ROOT / edit.file).read_text())
        if edit.file == FLAGS:
            flags[flags.index(edit.text)] = edit.instead
    files.pop(FLAGS, None)
    copies = []
    for name, text in files.items():
        # Assembly with another ending: link.py gives one name to all that ends with .S.
        copy = folder / Path(name).name.replace(".S", ".sx")
        copy.write_text(text)
        copies.append(copy)
        flags.append(f"-I{Path(name).parent}")
    return copies, flags
