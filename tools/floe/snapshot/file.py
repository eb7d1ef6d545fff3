# SPDX-License-Identifier: MIT
"""The file of a snapshot. In this order: the guest's memory, from the first byte on, so that a hypervisor can map it;
the rest of its state; the ELF; what it was handed over; the disks that it writes; what all that is, as JSON; a footer.
Zeros of memory and disks are holes. The file has no name before it is whole, and its owner alone may read it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from floe.errors import DiskFull, FloeError, NotFound, UsageError
from floe.family.capture import Captured
from floe.family.pipes import Kept
from floe.shown import shown
from floe.spec.handover import Blob
from floe.spec.vmspec import DEFAULT_HYPERVISOR, VmSpec

FORMAT = 1
_MAGIC = b"floe snapshot\r\n\0"
_FOOTER = struct.Struct("<16sIIQ32s")  # magic, format, 0, length and SHA-256 of the JSON
_MAX_CONTENT = 64 << 20
_PAGE = 4096
_CHUNK = 1 << 20
_ALIGNED = 1 << 16  # where each part begins
_ZEROS = bytes(_CHUNK)


class Part(msgspec.Struct, frozen=True):
    """Bytes of the file; sha256 "": not looked at when it is read."""

    name: str
    at: int
    size: int
    sha256: str = ""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. key: what must be the same where it is to go on."""

    plan: VmSpec
    app: str
    created: float  # time.time()
    version: str  # of the hypervisor
    key: dict[str, str]
    parts: list[Part]
    pipes: list[Kept]


@dataclass(frozen=True)
class State:
    """What a VM goes on from beside memory and disks."""

    devices: bytes
    version: str  # of the hypervisor
    pipes: Sequence[Kept]
    blobs: Sequence[Blob]  # what the guest was handed over


class Snapshot:
    """An open file, which stays as it is: a new one takes its name, not its place. Each VM made of it has it open."""

    def __init__(self, fd: int, shown: str) -> None:
        """shown: the file's name, for messages. The descriptor is ours from here on. `identity`: of this state among
        all. Raises FloeError."""
        self.fd = fd
        self.shown = shown
        try:
            self.content, self.identity = _content(fd, shown)
            self._parts = {part.name: part for part in self.content.parts}
            self.state = self._state()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: Path) -> Snapshot:
        """Raises NotFound, FloeError: it is none, or not whole, or another floe's."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise NotFound(f"no such snapshot: {path}", hint=f"floe snapshot NAME {path}") from None
        except OSError as e:
            raise FloeError(f"cannot read {path}: {e.strerror}") from e
        return cls(fd, str(path))

    def read(self, name: str) -> bytes:
        """A part. Raises FloeError."""
        part = self._parts.get(name)
        if part is None:
            raise _broken(self.shown, f"it has no {name}")
        data = _pread(self.fd, part.at, part.size, self.shown)
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise _broken(self.shown, f"its {name} has changed")
        return data

    def _state(self) -> State:
        names = [part.name for part in self.content.parts if part.name.startswith("blob/")]
        blobs = tuple(Blob(name.removeprefix("blob/"), self.read(name)) for name in names)
        return State(self.read("devices"), self.content.version, self.content.pipes, blobs)

    def memory(self) -> int:
        """A descriptor that a hypervisor can map so that what it writes is its own: of the file, or where it may not be
        opened for writing, as some hypervisors want, of a copy in memory. Raises OSError."""
        if os.access(f"/proc/self/fd/{self.fd}", os.W_OK):
            return os.dup(self.fd)
        copy = os.memfd_create("floe-ram", os.MFD_CLOEXEC)
        try:
            size = self._parts["memory"].size
            os.ftruncate(copy, size)
            copy_data(self.fd, 0, size, copy, 0)
        except BaseException:
            os.close(copy)
            raise
        return copy

    def disk(self, number: int) -> Part:
        """Of those that are written, the one of this number. Raises FloeError."""
        part = self._parts.get(f"disk/{number}")
        if part is None:
            raise _broken(self.shown, f"it has no disk {number}")
        return part

    def check_alike(self, here: dict[str, str], place: str) -> None:
        """Raises UsageError with all that differs from what it needs. place: where, for a table's head."""
        made = self.content.key | {"memory": f"{self.content.plan.memory >> 20}M"}
        rows = [(name, made.get(name, "-"), here[name]) for name in here if made.get(name, "-") != here[name]]
        if not rows:
            return
        rows.insert(0, ("", "the snapshot", place))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        table = ["  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        there, host = ("here", "") if place == "here" else (f"on {place}", f"--host {place} ")
        raise UsageError(
            f"{self.shown} cannot go on {there}",
            evidence=shown("\n".join(table)),
            hint=f"make it anew {there}: floe snapshot {host}NAME FILE",
        )

    def close(self) -> None:
        """May be called more than once."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def state_of(fd: int, shown: str) -> State:
    """Of a file that is open, and stays so. Raises FloeError."""
    snapshot = Snapshot(os.dup(fd), shown)
    snapshot.close()
    return snapshot.state


def write(path: Path, captured: Captured, *, blobs: Sequence[Blob], app: str, key: dict[str, str]) -> int:
    """Write the file, which is there when it is whole, and return how many bytes of disk it takes. blobs: what the VM
    was handed over; app: what it was started from; key: as Content has it. Raises OSError, FloeError."""
    folder = path.absolute().parent
    if path.is_dir():
        raise UsageError(f"{path} is a folder")
    with _unnamed(folder) as fd:
        try:
            parts = _write_parts(fd, captured, blobs)
            content = Content(
                plan=captured.spec,
                app=app,
                created=time.time(),
                version=captured.version,
                key=key,
                parts=parts,
                pipes=list(captured.pipes),
            )
            text = msgspec.json.encode(content, enc_hook=str)
            end = parts[-1].at + parts[-1].size
            footer = _FOOTER.pack(_MAGIC, FORMAT, 0, len(text), hashlib.sha256(text).digest())
            _pwrite(fd, text + footer, end)
            os.fsync(fd)
            _name(fd, path)
        except OSError as e:
            raise DiskFull.of(e, folder) or e from None
        return os.fstat(fd).st_blocks * 512


def _write_parts(fd: int, captured: Captured, blobs: Sequence[Blob]) -> list[Part]:
    size = os.fstat(captured.ram).st_size  # Xen's has more than the memory in it
    parts = [Part("memory", 0, size)]
    os.ftruncate(fd, size)
    copy_data(captured.ram, 0, size, fd, 0)
    written = [("devices", captured.devices), ("elf", captured.spec.elf.read_bytes())]
    written += [(f"blob/{blob.name}", blob.content) for blob in blobs]
    for name, data in written:
        at = _next(parts)
        _pwrite(fd, data, at)
        parts.append(Part(name, at, len(data), hashlib.sha256(data).hexdigest()))
    for number, disk in enumerate(captured.disks.fds):
        part = Part(f"disk/{number}", _next(parts), os.fstat(disk).st_size)
        os.ftruncate(fd, part.at + part.size)
        copy_data(disk, 0, part.size, fd, part.at)
        parts.append(part)
    return parts


def _next(parts: Sequence[Part]) -> int:
    return -(-(parts[-1].at + parts[-1].size) // _ALIGNED) * _ALIGNED


def copy_data(source: int, at: int, size: int, target: int, to: int) -> None:
    """Copy bytes of one file into holes of another; what is zero stays a hole. Raises OSError."""
    end = at + size
    while at < end:
        with contextlib.suppress(OSError):
            data_at = os.lseek(source, at, os.SEEK_DATA)
            to, at = to + min(data_at, end) - at, min(data_at, end)
        data = os.pread(source, min(_CHUNK, end - at), at)
        if not data:
            return
        _write_pages(data, target, to)
        at, to = at + len(data), to + len(data)


def _write_pages(data: bytes, target: int, to: int) -> None:
    """Neighbours in one piece."""
    start = None
    for page in range(0, len(data) + _PAGE, _PAGE):
        piece = data[page : page + _PAGE]
        if piece and piece != _ZEROS[: len(piece)]:
            start = page if start is None else start
        elif start is not None:
            _pwrite(target, data[start:page], to + start)
            start = None


def _pwrite(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, at)
        view, at = view[count:], at + count


def _pread(fd: int, at: int, size: int, shown: str) -> bytes:
    found = bytearray()
    while len(found) < size:
        data = os.pread(fd, size - len(found), at + len(found))
        if not data:
            raise _broken(shown, "it ends too early")
        found += data
    return bytes(found)


@contextlib.contextmanager
def _unnamed(folder: Path) -> Iterator[int]:
    """A new file in a folder, without a name where the file system can do that. Raises OSError."""
    name = ""
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as e:
        if e.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        fd, name = tempfile.mkstemp(dir=folder, prefix=".floe-snapshot.")
    try:
        yield fd
    finally:
        os.close(fd)
        if name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def _name(fd: int, path: Path) -> None:
    """Give an open file this name, over what has it."""
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    new = f".{path.name}.{os.urandom(8).hex()}"
    try:
        os.link(f"/proc/self/fd/{fd}", new, dst_dir_fd=folder, follow_symlinks=True)  # by linkat(2)
        try:
            os.replace(new, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(new, dir_fd=folder)
            raise
        os.fsync(folder)
    finally:
        os.close(folder)


def _content(fd: int, shown: str) -> tuple[Content, str]:
    """And its checksum. Raises FloeError."""
    try:
        size = os.fstat(fd).st_size
        footer = os.pread(fd, _FOOTER.size, max(0, size - _FOOTER.size))
    except OSError as e:
        raise FloeError(f"cannot read {shown}: {e.strerror}") from e
    if len(footer) < _FOOTER.size or not footer.startswith(_MAGIC):
        raise FloeError(f"{shown} is no snapshot, or a part of one", hint="floe snapshot NAME FILE makes one")
    _, number, _, length, digest = _FOOTER.unpack(footer)
    if number != FORMAT:
        raise FloeError(
            f"{shown} is a snapshot of format {number}; this floe reads format {FORMAT}",
            hint="make it anew with this floe",
        )
    if length > min(_MAX_CONTENT, size - _FOOTER.size):
        raise _broken(shown, "its end is damaged")
    text = _pread(fd, size - _FOOTER.size - length, length, shown)
    if hashlib.sha256(text).digest() != digest:
        raise _broken(shown, "its description has changed")
    try:
        content = msgspec.json.decode(text, type=Content, dec_hook=_from_text)
    except (msgspec.DecodeError, TypeError, ValueError) as e:
        raise FloeError(f"{shown} is a snapshot of another floe: {e}", hint="make it anew with this floe") from None
    end = 0
    for part in content.parts:
        if part.at < end or part.size < 0:
            raise _broken(shown, f"its {part.name} is not where it should be")
        end = part.at + part.size
    if end + length + _FOOTER.size != size:
        raise _broken(shown, f"it has {size} bytes, and should have {end + length + _FOOTER.size}")
    first = content.parts[0] if content.parts else None
    size = content.plan.memory if content.plan.hypervisor == DEFAULT_HYPERVISOR or first is None else first.size
    if first != Part("memory", 0, size):
        raise _broken(shown, "its memory is not that of its VM")
    return content, digest.hex()


def _from_text(kind: type, text: Any) -> Any:
    return kind(text)


def _broken(shown: str, problem: str) -> FloeError:
    return FloeError(f"{shown} is damaged: {problem}", hint="a new one: floe snapshot NAME FILE")
