# SPDX-License-Identifier: MIT
"""Disks: what --disk means, and whether the host's file can be one.

A disk is a raw file (or block device) of whole 512-byte sectors: no format with a header, so that mtools, littlefs
tools and `dd` read it as it is. Writes go through the host's page cache; a flush of the guest is an fdatasync here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from floe.errors import FloeError, NotFound, UsageError
from floe.units import SizeError, parse_size

MAX_DISKS = 8  # BLKDEV_MAX in modules/blkdev/blkdev.h
SECTOR = 512
MIN_SIZE = 64 << 10  # below it a file system has no room
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")  # of a disk on another host
_HINT = "--disk FILE, then [:ro] for reading only, [:size=16M] to create it if it is missing, [:optional]"
NAMES = "a name has letters, digits, _, - and ."
PUSHES = "floe host disk push HOST FILE NAME brings a file of this machine there"
# QEMU locks one byte of a disk for each right that it has, and one for each that it grants nobody beside itself
# (file driver, locking=on); these two stand for writing.
_READS, _WRITES, _NO_OTHER_READER, _NO_OTHER_WRITER = 100, 101, 200, 201
_F_OFD_GETLK, _F_OFD_SETLK = 36, 37
_BLKROGET = 0x125E  # linux/fs.h


@dataclass(frozen=True)
class Disk:
    """One disk; its path is absolute, or on another host its name there. `size`: bytes of the file to create where
    there is none, 0 to create nothing. `optional`: the script runs even where the disk cannot be mounted."""

    path: Path
    readonly: bool = False
    size: int = 0
    optional: bool = False


def parse_disks(values: Sequence[str], *, elsewhere: bool = False) -> tuple[Disk, ...]:
    """The disks of all --disk options together; elsewhere: they are another host's. Raises UsageError."""
    if len(values) > MAX_DISKS:
        raise UsageError(f"{len(values)} disks; a guest has at most {MAX_DISKS}")
    disks = tuple(parse_disk(value, elsewhere=elsewhere) for value in values)
    seen: set[Path] = set()
    for text, disk in zip(values, disks, strict=True):
        real = disk.path if elsewhere else disk.path.resolve()
        if real in seen:
            raise UsageError(f"--disk {text}: the same {'disk' if elsewhere else 'file'} is given twice")
        seen.add(real)
    return disks


def parse_disk(text: str, *, elsewhere: bool = False) -> Disk:
    """One --disk option. Raises UsageError."""
    name, readonly, size, optional = text, False, 0, False
    while match := re.fullmatch(r"(.+):(ro|optional|size=([^:]*))", name, re.DOTALL):
        name = match[1]
        if match[2] == "ro":
            readonly = True
        elif match[2] == "optional":
            optional = True
        else:
            size = _size(text, match[3])
    if not name or name.startswith(":"):
        raise UsageError(f"--disk {text}: names no file", hint=_HINT)
    if readonly and size:
        raise UsageError(f"--disk {text}: a new disk that cannot be written is of no use", hint=_HINT)
    if not elsewhere:
        return Disk(Path(name).absolute(), readonly, size, optional)
    if not is_name(name):
        raise UsageError(f"--disk {text}: a disk of another host has a name, and no path", hint=f"{NAMES}; {PUSHES}")
    return Disk(Path(name), readonly, size, optional)


def is_name(text: str) -> bool:
    """Whether a disk of another host may be called so."""
    return _NAME.fullmatch(text) is not None


def _size(text: str, value: str) -> int:
    try:
        return parse_size(value, minimum=MIN_SIZE, multiple=SECTOR, suffixes="KMGT")
    except SizeError as e:
        raise UsageError(f"--disk {text}: {value!r} is {e.problem}", hint=_HINT) from None


def guest_words(disks: Sequence[Disk]) -> list[str]:
    """The words about them on the kernel command line, read by floe.BlockDevice."""
    return [f"floe.optional={index}" for index, disk in enumerate(disks) if disk.optional]


def check_host(disks: Sequence[Disk]) -> None:
    """Whether the host's files can be the disks; one that will be created is no matter. Raises FloeError, NotFound."""
    for disk in disks:
        if not disk.size or os.path.exists(disk.path):
            _check(disk)


def provide(disks: Sequence[Disk]) -> None:
    """Create what is missing and was asked for, and check every disk. Raises FloeError, NotFound."""
    for disk in disks:
        if disk.size and not os.path.exists(disk.path):
            _create(disk)
        _check(disk)


def _create(disk: Disk) -> None:
    with contextlib.suppress(FileExistsError):  # another floe was faster
        _make_file(disk.path, disk.size)


def create(path: Path, size: int) -> None:
    """A new file of zeros. Raises FloeError."""
    try:
        _make_file(path, size)
    except FileExistsError:
        raise FloeError(f"{path} is there already", hint="floe disk ls shows what it holds; rm removes it") from None


def _make_file(path: Path, size: int) -> None:
    try:
        with path.open("xb") as f:
            f.truncate(size)
    except FileExistsError:
        raise
    except OSError as e:
        raise FloeError(f"cannot create the disk {path}: {e.strerror}", hint="df -h, ls -ld of its folder") from e


@contextlib.contextmanager
def claimed(path: Path, *, readonly: bool) -> Iterator[int]:
    """An open disk that no VM writes meanwhile, and without `readonly` none reads. Raises FloeError, NotFound."""
    if not os.path.lexists(path) and os.access(path.parent, os.X_OK):
        raise NotFound(f"no such disk: {path}", hint=f"floe disk create {shlex.quote(str(path))} --size 16M")
    disk = Disk(path, readonly)
    _check(disk)
    fd = os.open(path, os.O_RDONLY if readonly else os.O_RDWR)
    try:
        for offset in (_READS, _NO_OTHER_WRITER) if readonly else (_READS, _WRITES, _NO_OTHER_WRITER, _NO_OTHER_READER):
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.fcntl(fd, _F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, offset, 1, 0))
        if _is_locked(fd, readonly):  # somebody came in between
            raise _in_use(path, os.fstat(fd))
        yield fd
    finally:
        os.close(fd)


def _check(disk: Disk) -> None:
    try:
        fd = os.open(disk.path, os.O_RDONLY if disk.readonly else os.O_RDWR)
    except FileNotFoundError:
        # What looks like an option and is none became part of the name.
        asked = "after the name come :ro, :size=16M, :optional" if ":" in disk.path.name else ""
        creates = f"--disk {shlex.quote(f'{disk.path}:size=16M')} creates it"
        raise NotFound(f"no such disk: {disk.path}", hint=asked or creates) from None
    except IsADirectoryError:
        raise FloeError(f"{disk.path} is a folder, not a disk", hint=_HINT) from None
    except OSError as e:
        hint = "" if disk.readonly else f"--disk {shlex.quote(f'{disk.path}:ro')} if it need not be written"
        raise FloeError(f"cannot open the disk {disk.path}: {e.strerror}", hint=hint) from e
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISBLK(found.st_mode):
            folder = stat.S_ISDIR(found.st_mode)
            what = "is a folder, not a disk" if folder else "is neither a file nor a block device"
            raise FloeError(f"{disk.path} {what}", hint=_HINT)
        if stat.S_ISBLK(found.st_mode) and not disk.readonly and _is_readonly(fd):
            raise FloeError(f"{disk.path} cannot be written", hint=f"--disk {shlex.quote(f'{disk.path}:ro')}")
        size = os.lseek(fd, 0, os.SEEK_END)
        _check_size(disk.path, size)
        if _is_locked(fd, disk.readonly):
            raise _in_use(disk.path, found)
    except OSError as e:
        raise FloeError(f"{disk.path} cannot be a disk: {e.strerror}", hint=_HINT) from e
    finally:
        os.close(fd)


def _is_readonly(device: int) -> bool:
    """Of a block device, which opens for writing all the same."""
    said = fcntl.ioctl(device, _BLKROGET, bytes(4))
    return said != bytes(4)


def _check_size(path: Path, size: int) -> None:
    if size < MIN_SIZE:
        name = shlex.quote(str(path))
        larger = f"truncate -s 16M {name}" if size == 0 else "floe disk create FILE --size 16M makes a disk"
        raise FloeError(f"the disk {path} has {size} bytes; a disk has at least {MIN_SIZE >> 10}K", hint=larger)
    if size % SECTOR:
        raise FloeError(
            f"the disk {path} has {size} bytes, which is no whole number of sectors of {SECTOR}",
            hint=f"truncate -s {(size // SECTOR + 1) * SECTOR} {shlex.quote(str(path))}",
        )


def _is_locked(fd: int, readonly: bool) -> bool:
    """Whether another process holds the disk in a way that QEMU will not share."""
    forbidding = [_WRITES, _NO_OTHER_READER] if readonly else [_WRITES, _NO_OTHER_WRITER]
    for offset in forbidding:
        # struct flock: l_type, l_whence, l_start, l_len, l_pid. QEMU's own locks are shared: asking for an exclusive
        # one finds them.
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
        try:
            answer = fcntl.fcntl(fd, _F_OFD_GETLK, asked)
        except OSError:
            return False  # a file system without locks: QEMU will say what it thinks of that
        if struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK:
            return True
    return False


def _in_use(path: Path, found: os.stat_result) -> FloeError:
    return FloeError(
        f"the disk {path} is in use", evidence=_holder(found), hint="end that VM, or give the disk to both with :ro"
    )


def _holder(found: os.stat_result) -> str:
    """Which processes have the file open, one a line, as far as we may see."""
    lines = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            links = [os.stat(link) for link in (folder / "fd").iterdir()]
            if any((s.st_dev, s.st_ino) == (found.st_dev, found.st_ino) for s in links):
                lines.append(f"by: {(folder / 'comm').read_text().strip()} (pid {folder.name})")
        except OSError:
            continue
    return "\n".join(lines)
