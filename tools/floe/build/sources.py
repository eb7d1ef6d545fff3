# SPDX-License-Identifier: MIT
"""The application's own C and assembler file, from the templates app.c.in (app.h says what the fields are) and
app.S.in (the ELF's notes of owner Floe, and its ROMFS)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from string import Template

from floe.build.contents import Contents

ARENA_PAGES_DEV = 256  # 1 MiB for native code made at the REPL


def app_c(contents: Contents) -> str:
    """What floe_app is: the text of floe_app.c."""
    drivers = contents.drivers
    return _template("app.c.in").substitute(
        declarations="\n".join(f"extern const hal_driver_t {driver};" for driver in drivers),
        drivers="\n".join(f"    &{driver}," for driver in drivers),
        main_module=c_string(contents.config.main.name),
        repl="floe_repl" if contents.repl else 0,
        arena_pages=ARENA_PAGES_DEV if contents.repl else 0,
        interrupt_loop=contents.interrupt or 0,
        romfs="floe_romfs" if contents.data else 0,
        romfs_size=_romfs_size(contents),
        name=c_string(contents.config.name),
        version=c_string(contents.config.version),
    )


def kernel_c(drivers: Collection[str], *, repl: bool) -> str:
    """floe_app of a ready kernel: it names all that an application may want, so that this is linked."""
    return _template("app.c.in").substitute(
        declarations="\n".join(f"extern const hal_driver_t {driver};" for driver in drivers),
        drivers="\n".join(f"    &{driver}," for driver in drivers),
        repl="floe_repl" if repl else 0,
        interrupt_loop="floe_interrupt_signal",  # which needs the other
        **dict.fromkeys(("main_module", "arena_pages", "romfs", "romfs_size", "name", "version"), 0),
    )


def app_s(contents: Contents, note_size: int) -> str:
    """The text of floe_app.S. note_size: bytes of note.json, which it includes, as it does romfs.img."""
    return _template("app.S.in").substitute(note_size=note_size, romfs_size=_romfs_size(contents))


def c_string(text: str) -> str:
    """A C string literal: printable ASCII stands for itself, every other byte is octal."""
    kept = (chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in text.encode())
    return '"' + "".join(kept) + '"'


def _romfs_size(contents: Contents) -> int:
    return len(contents.data.image) if contents.data else 0


def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(name).read_text())
