# SPDX-License-Identifier: MIT
"""File systems on disk images, from the host, for `floe disk`: what a Volume does, and littlefs2 by littlefs-python.
FAT is fatvolume.py's. A file is replaced whole: it is written beside the old one, which goes when all is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from floe.errors import FloeError, NotFound
from floe.spec.disks import SECTOR

LITTLEFS, FAT, BLANK, UNKNOWN = "littlefs2", "FAT", "blank", "unknown"
BESIDE = ".floe-part"  # ends the name of a file that is not whole, or not yet gone
_PIECE = 1 << 20
_LOG = 1 << 14  # as much of a superblock's log is read
_INLINE, _CHECKSUM, _DELETED = 0x201, 0x500, 0x3FF
_SMALL = 4 << 20  # as frozen/lib/_disks.py has it
_LOOKED_AT, _END = 1 << 20, 1 << 16
_COPIED = "what floe disk cp still reads can be saved; take the rest from a copy"
_NO_ENTRY, _IS_FOLDER, _FULL = -2, -21, -28  # littlefs' error numbers


class Entry(NamedTuple):
    """A file or folder on a disk. path: from its root, without a / at either end. size: bytes."""

    path: str
    size: int
    folder: bool


class Volume(Protocol):
    """A file system. Paths as in Entry; "" is the root. Everything raises FloeError with the disk's name."""

    kind: str

    def entry(self, path: str) -> Entry | None: ...
    def list(self, path: str) -> list[Entry]: ...
    def fetch(self, path: str, target: Path) -> None: ...
    def store(self, source: Path, path: str) -> None: ...
    def make_folder(self, path: str) -> None: ...
    def free(self) -> int: ...
    def check(self) -> None: ...


def what_is_on(fd: int) -> str:
    """The kind of file system on an open disk, as a VM's start sees it."""
    if block_size(fd):
        return LITTLEFS
    if os.pread(fd, 2, 510) == b"\x55\xaa":
        return FAT
    size = os.lseek(fd, 0, os.SEEK_END)
    blank = not any(os.pread(fd, min(_LOOKED_AT, size), 0)) and not any(os.pread(fd, _END, max(0, size - _END)))
    return BLANK if blank else UNKNOWN


def block_size(fd: int) -> int:
    """Bytes of a littlefs2's block; 0 where there is none."""
    at = 0
    while at <= 1 << 20:
        log = os.pread(fd, _LOG, at)
        size = _block_size_in(log) if log[8:16] == b"littlefs" else 0
        if size >= SECTOR and not size & (size - 1) and at in (0, size):
            return size
        at = at * 2 or SECTOR
    return 0


def _block_size_in(log: bytes) -> int:
    """From the first superblock entry of a log of littlefs' metadata (its SPEC.md); 0 where there is none.

    A tag is XORed with the one before: type (11 bits), id (10), size (10; 0x3FF for something deleted)."""
    at, tag = 4, 0xFFFFFFFF
    while at + 12 <= len(log):
        tag ^= int.from_bytes(log[at : at + 4], "big")
        kind, length = tag >> 20, tag & 0x3FF
        if tag >> 31:
            break
        if kind == _INLINE and not tag >> 10 & 0x3FF:
            return int.from_bytes(log[at + 8 : at + 12], "little")
        if kind & 0x780 == _CHECKSUM:
            tag ^= (kind & 1) << 31
        at += 4 + (0 if length == _DELETED else length)
    return 0


def walk(volume: Volume, path: str = "") -> Iterator[Entry]:
    """All that is below a folder, a folder before what is in it."""
    for entry in volume.list(path):
        yield entry
        if entry.folder:
            yield from walk(volume, entry.path)


def joined(disk: Path, folder: str, name: str) -> str:
    """The path of what a folder of the disk holds. Raises FloeError for a name that leads elsewhere."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise FloeError(f"{disk} is damaged: a file in /{folder} is called {name!r}", hint=_COPIED)
    return f"{folder}/{name}" if folder else name


class _File:
    """A disk as littlefs-python has it (UserContext's four methods). `size`: bytes of the disk."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.in_size = os.lseek(fd, 0, os.SEEK_END)

    def read(self, cfg: Any, block: int, off: int, size: int) -> bytearray:
        found = os.pread(self._fd, size, block * cfg.block_size + off)
        return bytearray(found + b"\0" * (size - len(found)))

    def prog(self, cfg: Any, block: int, off: int, data: bytes) -> int:
        return 0 if os.pwrite(self._fd, data, block * cfg.block_size + off) == len(data) else _FULL

    def erase(self, cfg: Any, block: int) -> int:
        return 0  # a disk is written over

    def sync(self, cfg: Any) -> int:
        os.fsync(self._fd)
        return 0


class Littlefs:
    """A littlefs2 on an open disk. `name`: of the disk, for messages."""

    kind = LITTLEFS

    def __init__(self, fd: int, name: Path) -> None:
        """Raises FloeError where it cannot be mounted."""
        self._fd, self._name = fd, name
        self._fs = _mounted(fd, name)

    @property
    def promised(self) -> int:
        """Bytes that the file system says it has."""
        stat = self._fs.fs_stat()
        return int(stat.block_count) * int(stat.block_size)

    @property
    def block(self) -> int:
        return int(self._fs.fs_stat().block_size)

    def free(self) -> int:
        return self.promised - int(self._fs.used_block_count) * self.block

    def grow(self, size: int) -> None:
        """Have the file system use `size` bytes of the disk."""
        with _told(self._name, "grow"):
            self._fs.fs_grow(size // self.block)

    def check(self) -> None:
        """Read every file. Raises FloeError at the first that cannot be read."""
        for entry in walk(self):
            if not entry.folder:
                self.fetch(entry.path, Path(os.devnull))

    def entry(self, path: str) -> Entry | None:
        try:
            with _told(self._name, path):
                found = self._fs.stat("/" + path)
        except NotFound:
            return None
        return Entry(path, int(found.size), found.type == 2)

    def list(self, path: str) -> list[Entry]:
        with _told(self._name, path):
            found = list(self._fs.scandir("/" + path))
        return sorted(Entry(joined(self._name, path, e.name), int(e.size), e.type == 2) for e in found)

    def fetch(self, path: str, target: Path) -> None:
        with _told(self._name, path), self._fs.open("/" + path, "rb") as source, target.open("wb") as out:
            while piece := source.read(_PIECE):
                out.write(piece)

    def store(self, source: Path, path: str) -> None:
        beside = path + BESIDE
        with source.open("rb") as content, _told(self._name, path):
            try:
                with self._fs.open("/" + beside, "wb") as out:
                    while piece := content.read(_PIECE):
                        out.write(piece)
                self._fs.rename("/" + beside, "/" + path)
            except BaseException:
                self._drop(beside)
                raise

    def _drop(self, path: str) -> None:
        from littlefs import LittleFSError

        try:
            self._fs.remove("/" + path)
        except (LittleFSError, OSError):
            return  # it was not made, or nothing can be written any more

    def make_folder(self, path: str) -> None:
        with _told(self._name, path):
            self._fs.mkdir("/" + path)


def format_littlefs(fd: int) -> None:
    """Make an empty littlefs2 as large as an open disk, with blocks as a VM makes them."""
    _littlefs(fd, 4096 if os.lseek(fd, 0, os.SEEK_END) < _SMALL else 16384, mount=False).format()


def _littlefs(fd: int, size: int, *, mount: bool, blocks: int | None = None) -> Any:
    from littlefs import LittleFS

    count = os.lseek(fd, 0, os.SEEK_END) // size if blocks is None else blocks
    unit = min(size, 4096)
    words = {"block_size": size, "block_count": count, "read_size": unit, "cache_size": unit, "prog_size": SECTOR}
    fs: Any = LittleFS  # its types want a UserContext, of which it calls no more than _File has
    return fs(_File(fd), mount=mount, lookahead_size=256, **words)


def _mounted(fd: int, name: Path) -> Any:
    with _told(name, ""):
        # No count of blocks: the one of the superblock holds, which may be less than the disk has.
        fs = _littlefs(fd, block_size(fd), mount=False, blocks=0)
        fs.mount()
    stat, size = fs.fs_stat(), os.lseek(fd, 0, os.SEEK_END)
    if stat.block_count * stat.block_size > size:
        raise FloeError(
            f"{name} has {size} bytes, its littlefs2 {stat.block_count * stat.block_size}: the end is lost",
            hint="take it from a copy",
        )
    return fs


class _told:
    """littlefs' failures in floe's words."""

    def __init__(self, name: Path, what: str) -> None:
        self._name, self._what = name, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from littlefs import LittleFSError

        if not isinstance(error, LittleFSError):
            return
        if error.code == _NO_ENTRY:
            raise NotFound(f"{self._name} has no {self._what}", hint=f"floe disk ls {self._name}") from error
        if error.code == _FULL:
            raise disk_full(self._name, self._what) from error
        if error.code == _IS_FOLDER:
            raise FloeError(f"{self._name}: {self._what} is a folder") from error
        where = f"{self._name}: {self._what}" if self._what else str(self._name)
        raise FloeError(f"{where}: its littlefs2 is damaged", evidence=str(error), hint=_COPIED) from error


def disk_full(name: Path, what: str) -> FloeError:
    """The error of a disk without room for a file."""
    return FloeError(f"{name} has no room for {what}", hint=f"floe disk grow {name} SIZE, or remove files in a VM")
