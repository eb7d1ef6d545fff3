# SPDX-License-Identifier: MIT
"""A folder as a ROMFS image (format: upstream's extmod/vfs_rom.c), written by mpremote's own writer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from floe.build.resolve import show
from floe.errors import BuildError
from floe.userfile import read_file

if TYPE_CHECKING:
    from mpremote.romfs import VfsRomWriter

MAX_DATA = 1 << 30


@dataclass(frozen=True)
class Romfs:
    """The image, and what is in it: path below the folder -> size in bytes."""

    image: bytes
    files: dict[str, int]


def make(folder: Path | None, ca: Path | None = None) -> Romfs:
    """Everything below `folder`, sorted by name; __pycache__ is left out. `ca` goes to tls/ca.pem. Raises BuildError
    for what ROMFS cannot hold: names that are not ASCII, and entries that are neither file nor folder."""
    from mpremote.romfs import VfsRomWriter

    writer = VfsRomWriter()
    held: dict[str, int] = {}
    if folder is not None:
        _add(writer, folder, (folder.resolve(),), folder, held)
    if ca is not None:
        if folder is not None and (folder / "tls").exists():
            raise BuildError(f"{show(folder)}: has a `tls` of its own", hint="rename it: [tls] ca is put there")
        content = read_file(ca)
        writer.opendir("tls")
        writer.mkfile("ca.pem", content)
        writer.closedir()
        held["tls/ca.pem"] = len(content)
    return Romfs(bytes(writer.finalise()), held)


def _add(writer: VfsRomWriter, top: Path, way: tuple[Path, ...], folder: Path, held: dict[str, int]) -> None:
    """way: from the data folder to this one, without links."""
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name == "__pycache__":
            continue
        if not path.name.isascii():
            raise BuildError(f"{show(path)}: ROMFS holds ASCII names only", hint="rename the file")
        if not path.resolve().is_relative_to(way[0]):
            raise BuildError(f"{show(path)}: a link that leaves the data folder", hint="copy the file there")
        if path.resolve() in way:
            raise BuildError(f"{show(path)}: a link to a folder that it is in", hint="remove it from the data folder")
        if path.is_dir():
            writer.opendir(path.name)
            _add(writer, top, (*way, path.resolve()), path, held)
            writer.closedir()
        elif path.is_file():
            content = read_file(path, MAX_DATA)
            writer.mkfile(path.name, content)
            held[path.relative_to(top).as_posix()] = len(content)
        else:
            raise BuildError(f"{show(path)}: neither a file nor a folder", hint="remove it from the data folder")
