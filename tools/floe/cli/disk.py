# SPDX-License-Identifier: MIT
"""`floe disk`: make disk images, look into them and change them while no VM has them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import click

from floe.disk.fatvolume import Fat, format_fat
from floe.disk.volume import BESIDE, BLANK, FAT, LITTLEFS, Entry, Littlefs, Volume, format_littlefs, walk, what_is_on
from floe.errors import FloeError, NotFound, UsageError
from floe.shown import shown
from floe.spec import disks
from floe.units import SizeError, parse_size, show_size
from floe.userfile import check_replaceable, forget


@click.group(short_help="Make disks, look into them, copy files.")
def command() -> None:
    """Make disk images (littlefs2, or FAT with mtools), look into them and copy files, while no VM has them."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--size", "size_text", required=True, metavar="N", help="As in 16M; at least 64K.")
@click.option("--fat", is_flag=True, help="FAT, which other systems read; without it littlefs2.")
def create(file: Path, size_text: str, fat: bool) -> None:
    """Make a new disk with an empty file system on it."""
    size = _size(size_text)
    disks.create(file, size)
    try:
        with disks.claimed(file, readonly=False) as fd:
            if fat:
                format_fat(file)
            else:
                format_littlefs(fd)
    except BaseException:
        forget(file)
        raise
    click.echo(f"{file}: {show_size(size)}, {FAT if fat else LITTLEFS}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("size_text", metavar="[SIZE]", required=False)
def grow(file: Path, size_text: str | None) -> None:
    """Make a littlefs2 as large as its disk; with SIZE, make the disk that large before."""
    wanted = _size(size_text) if size_text else 0
    with disks.claimed(file, readonly=False) as fd:
        kind, size = what_is_on(fd), os.lseek(fd, 0, os.SEEK_END)
        if wanted and wanted < size:
            raise UsageError(f"{file} has {show_size(size)} already", hint="a disk does not shrink; copy to a new one")
        if kind != LITTLEFS:
            what = "a FAT, which does not grow" if kind == FAT else f"no littlefs2, but is {kind}"
            raise FloeError(
                f"{file} holds {what}",
                hint="floe disk create makes a larger disk, floe disk cp copies files",
            )
        volume = Littlefs(fd, file)
        before = volume.promised
        if wanted > size:
            _extend(fd, file, wanted)
        after = max(wanted, size) // volume.block * volume.block
        if after > before:
            volume.grow(after)
    click.echo(f"{file}: {kind}, {before} bytes before, now {after}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Read all that is on a disk, and say what it holds."""
    with _opened(file, readonly=True) as volume:
        volume.check()
        files = [entry for entry in walk(volume) if not entry.folder]
        size, room = file.stat().st_size, ""
        if isinstance(volume, Littlefs) and volume.promised + volume.block <= size:
            room = f"; {size - volume.promised} bytes of the disk are not used, floe disk grow {file} takes them"
        total = sum(entry.size for entry in files)
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        click.echo(f"{file}: {volume.kind}, {count} of {total} bytes, {volume.free()} bytes free{room}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("path", default="/")
@click.option("-r", "--recursive", is_flag=True, help="With all that is below.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def ls(file: Path, path: str, recursive: bool, as_json: bool) -> None:
    """List a folder of a disk: sizes and names."""
    with _opened(file, readonly=True) as volume:
        start = _inside(path.removeprefix(":"))
        entry = _found(volume, start, file)
        found = list(walk(volume, start) if recursive else volume.list(start)) if entry.folder else [entry]
    if as_json:
        click.echo(json.dumps([{"path": "/" + e.path, "size": e.size, "folder": e.folder} for e in found]))
        return
    for e in found:
        name = e.path if recursive or not entry.folder else PurePosixPath(e.path).name
        visible = shown(name).replace("\n", "^J")
        click.echo(f"{e.size:12} {visible}{'/' if e.folder else ''}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.argument("target", metavar="DST")
@click.option("-r", "--recursive", is_flag=True, help="Folders with all in them.")
def cp(file: Path, sources: Sequence[str], target: str, recursive: bool) -> None:
    """Copy files from and to a disk; a path on the disk begins with a colon, as in floe disk cp d.img main.py :/lib/"""
    if all(text.startswith(":") for text in sources) and not target.startswith(":"):
        with _opened(file, readonly=True) as volume:
            for text in sources:
                _copy_out(volume, _found(volume, _inside(text[1:]), file), Path(target), recursive, len(sources) > 1)
    elif target.startswith(":") and not any(text.startswith(":") for text in sources):
        with _opened(file, readonly=False) as volume:
            for text in sources:
                _copy_in(volume, Path(text), target[1:], recursive, len(sources) > 1)
    else:
        raise UsageError("copies go from this machine to the disk or back", hint=f"floe disk cp {file} main.py :/lib/")


def _copy_out(volume: Volume, entry: Entry, target: Path, recursive: bool, several: bool) -> None:
    where = target / (PurePosixPath(entry.path).name or ".") if target.is_dir() else target
    if several and not target.is_dir():
        raise UsageError(f"{target} is no folder, and several files go there")
    if not entry.folder:
        _fetch(volume, entry.path, where)
        return
    _folders_too(recursive, "/" + entry.path)
    where.mkdir(exist_ok=True)
    for below in walk(volume, entry.path):
        place = where / PurePosixPath(below.path).relative_to(entry.path or ".")
        if below.folder:
            place.mkdir(exist_ok=True)
        else:
            _fetch(volume, below.path, place)


def _fetch(volume: Volume, path: str, where: Path) -> None:
    """A file of this machine is replaced when the new one is whole."""
    check_replaceable(where)
    if not where.parent.is_dir():
        raise NotFound(f"no such folder: {where.parent}")
    beside = where.with_name(where.name + BESIDE)
    try:
        volume.fetch(path, beside)
        beside.replace(where)
    except BaseException:
        forget(beside)
        raise


def _copy_in(volume: Volume, source: Path, target: str, recursive: bool, several: bool) -> None:
    if not source.exists():
        raise NotFound(f"no such file: {source}")
    path = _inside(target)
    there = volume.entry(path)
    if there is not None and there.folder:
        path = str(PurePosixPath(path, source.resolve().name))
        there = volume.entry(path)
    elif several or target.endswith("/"):
        raise NotFound(f"the disk has no folder {target}")
    if source.is_file():
        if there is not None and there.folder:
            raise FloeError(f":/{path} is a folder")
        volume.store(source, path)
        return
    _folders_too(recursive, str(source))
    for place in (source, *sorted(source.rglob("*"))):
        inner = str(PurePosixPath(path, place.relative_to(source).as_posix()))
        if place.is_dir():
            if volume.entry(inner) is None:
                volume.make_folder(inner)
        elif place.is_file():
            volume.store(place, inner)
        else:
            raise FloeError(f"{place} is neither a file nor a folder")


def _folders_too(recursive: bool, name: str) -> None:
    if not recursive:
        raise UsageError(f"{name} is a folder", hint="floe disk cp -r copies folders")


@contextlib.contextmanager
def _opened(file: Path, *, readonly: bool) -> Iterator[Volume]:
    """The file system on a disk that no VM has."""
    with disks.claimed(file, readonly=readonly) as fd:
        kind = what_is_on(fd)
        if kind == LITTLEFS:
            yield Littlefs(fd, file)
        elif kind == FAT:
            yield Fat(file)
        elif kind == BLANK:
            raise FloeError(f"{file} is blank", hint="its first VM makes a littlefs2 on it; or floe disk create")
        else:
            raise FloeError(f"{file} holds neither littlefs2 nor FAT")


def _found(volume: Volume, path: str, file: Path) -> Entry:
    entry = volume.entry(path)
    if entry is None:
        raise NotFound(f"{file} has no /{path}", hint=f"floe disk ls {file}")
    return entry


def _inside(path: str) -> str:
    """A path on a disk without what makes it absolute, and without dots."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageError(f"{path}: a path on a disk has no ..")
    return "/".join(parts)


def _extend(fd: int, file: Path, size: int) -> None:
    if file.is_block_device():
        raise FloeError(f"{file} is a device: its size is not floe's to change")
    os.ftruncate(fd, size)


def _size(text: str) -> int:
    try:
        return parse_size(text, minimum=disks.MIN_SIZE, multiple=disks.SECTOR)
    except SizeError as e:
        raise UsageError(f"{text!r} is {e.problem}", hint="a size as in 16M, at least 64K") from None
