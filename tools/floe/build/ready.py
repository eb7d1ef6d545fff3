# SPDX-License-Identifier: MIT
"""An application joined to a ready kernel (kernels.py), without a compiler: its modules as .mpy files in a ROMFS, its
data folder as another, and its notes, in one read-only segment behind the kernel's own (image/append.py).

What the kernel knows of its application is its floe_app (port/app.h), which is written anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import msgspec

from floe.build import bytecode, kernels, mpyfloats
from floe.build.contents import Contents
from floe.build.description import note_text
from floe.build.sources import ARENA_PAGES_DEV
from floe.errors import BuildError
from floe.image import elf
from floe.image.append import PAGE, Kernel, Segment

FORMAT = 2  # of what is appended
_ROMFS, _DATA, _DIRECTORY, _FILE = 0x14A6B1, 2, 4, 5  # kinds of records: upstream's extmod/vfs_rom.c


class _App(msgspec.Struct):
    """floe_app_t, member by member; all are of eight bytes."""

    main_module: int
    drivers: int
    repl: int
    romfs: int
    romfs_size: int
    name: int
    version: int
    interrupt_loop: int
    arena_pages: int
    code: int
    appended: int
    moved: int

    @classmethod
    def read(cls, kernel: Kernel) -> _App:
        size = 8 * len(cls.__struct_fields__)
        if kernel.size("floe_app") != size:
            raise ValueError("its floe_app_t is another")
        return cls(*struct.unpack(f"<{size // 8}Q", kernel.read(kernel.address("floe_app"), size)))

    def pack(self) -> bytes:
        members = msgspec.structs.astuple(self)
        return struct.pack(f"<{len(members)}Q", *members)


def make(contents: Contents, entry: kernels.Entry, out: Path) -> dict[str, int]:
    """Write the image with these contents, to be sealed yet; the bytes of each part of it. Raises BuildError."""
    compiled = bytecode.compile_all(contents.archive.mpy_cross, contents.closure.frozen)
    note = note_text(contents, compiled, entry).encode()
    modules = {target: mpyfloats.exact(path.read_bytes()) for target, path in compiled.items()}
    try:
        kernel = Kernel(entry.path.read_bytes())
        segment, app = _joined(contents, kernel, modules, note)
        out.write_bytes(kernel.append(segment, {kernel.address("floe_app"): app.pack()}))
    except ValueError as e:
        raise BuildError(f"{entry.path} is no ready kernel of this floe: {e}", hint="make clean setup") from e
    return {f"{entry.name}.elf": entry.bytes, **{part.name: len(part.content) for part in segment.parts}}


def _joined(contents: Contents, kernel: Kernel, modules: dict[str, bytes], note: bytes) -> tuple[Segment, _App]:
    """What is appended, and the kernel's floe_app with it."""
    start = kernel.address("link_end")
    if start % PAGE:
        raise ValueError("its end is not page aligned")
    app = _App.read(kernel)
    segment = Segment(start)
    segment.add(".names", b"".join(_string(target) for target in sorted(modules)) + b"\0")  # first: help() finds it so
    drivers = [kernel.address(driver) for driver in contents.drivers]
    app.drivers = segment.add(".drivers", _words(drivers))
    app.main_module = segment.add(".main", _string(contents.config.main.name))
    app.name = segment.add(".name", _string(contents.config.name))
    app.version = segment.add(".version", _string(contents.config.version))
    app.code = segment.add(".code", _romfs(modules))
    if contents.data:
        app.romfs, app.romfs_size = segment.add(".romfs", contents.data.image), len(contents.data.image)
    app.interrupt_loop = kernel.address(contents.interrupt) if contents.interrupt else 0
    app.moved = segment.add(".moved", _words(_moved(kernel, range(app.drivers, app.drivers + 8 * len(drivers), 8))))
    app.arena_pages = ARENA_PAGES_DEV if contents.repl or contents.closure.native else 0
    segment.add(".note.floe", elf.notes(note), note=True)
    app.appended = segment.pages_bytes
    return segment, app


def _moved(kernel: Kernel, appended: Iterable[int]) -> list[int]:
    """Where the addresses are that the linker has not seen: the application's in floe_app, and these."""
    start, members, listed = kernel.address("floe_app"), _App.__struct_fields__, kernel.moved()
    own = (start + 8 * members.index(name) for name in ("main_module", "drivers", "romfs", "name", "version", "code"))
    return [*(at for at in own if at not in listed), *appended]


def _words(addresses: Sequence[int]) -> bytes:
    """And a zero behind them."""
    return struct.pack(f"<{len(addresses) + 1}Q", *addresses, 0)


def _string(text: str) -> bytes:
    return text.encode() + b"\0"


def _romfs(modules: dict[str, bytes]) -> bytes:
    """The modules below their packages: asyncio/core.py is core.mpy in asyncio. Not by mpremote's writer: a module's
    name need not be ASCII."""
    return _record(_ROMFS, _folder({f"{target.removesuffix('.py')}.mpy": mpy for target, mpy in modules.items()}))


def _folder(files: dict[str, bytes]) -> bytes:
    out = b""
    for first, paths in groupby(sorted(files, key=lambda path: path.split("/")), key=lambda path: path.split("/")[0]):
        below = {path.partition("/")[2]: files[path] for path in paths}
        name = _number(len(first.encode())) + first.encode()
        if "" in below:
            out += _record(_FILE, name + _record(_DATA, below[""]))
        else:
            out += _record(_DIRECTORY, name + _folder(below))
    return out


def _record(kind: int, payload: bytes) -> bytes:
    return _number(kind) + _number(len(payload)) + payload


def _number(value: int) -> bytes:
    """Seven bits a byte, the highest first; all bytes but the last have bit 7 set."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))
