# SPDX-License-Identifier: MIT
"""Disks of a host: raw files in floe's pool there, each with a name, which stay until they are removed by it.

A VM has them by libvirt's own element, so that libvirt gives QEMU the right to them; QEMU locks each, so that nobody
beside it has one that it writes. While a disk is brought there an empty file beside it says that it is not whole.

What a VM has begins behind 64 KiB of zeros, domain.HEAD: libvirt looks at the begin of each file of a pool, now and
then, and opens what a header there names as its backing file, raw or not. With a FIFO for one libvirtd hangs.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from floe.errors import FloeError, HostError, NotFound
from floe.fleet import domain, store
from floe.fleet.binding import binding
from floe.fleet.connection import Host, started
from floe.fleet.store import Store
from floe.spec.disks import Disk

HALF = "half-"  # begins the name of that empty file
_PIECE = 4 << 20  # bytes that are sent, and read back, at once
_RECEIVED = 1 << 18  # libvirt hands on no more at once
_HOLE = -3  # virStreamRecvFlags(): a hole comes next
_ZEROS = bytes(_PIECE)
_UNDO_S = 15.0
_NO_DOMAIN = 42  # virErrorNumber
_LOCKED = re.compile(r"Is another process using the image \[(.*)\]")  # QEMU's words


@dataclass(frozen=True)
class User:
    """A domain that has a disk; alive: it runs."""

    name: str
    uuid: str
    alive: bool
    readonly: bool


@dataclass(frozen=True)
class HostDisk:
    """A disk that lies on a host. used: bytes of that host's disk that it takes; whole: nothing is to come any more."""

    name: str
    size: int
    used: int
    whole: bool
    users: tuple[User, ...]


class Disks:
    """Those of one host."""

    def __init__(self, host: Host, files: Store) -> None:
        self._host = host
        self._files = files

    # ---- for who has a connection by Host.ask() -----------------------------------------------------

    def provide(self, connection: Any, disks: Sequence[Disk], own: str) -> list[str]:
        """Create what is missing and was asked for, check each, and return names of the new ones. own: the UUID of the
        VM that is to have them. Raises NotFound, FloeError, libvirtError."""
        made: list[str] = []
        if not disks:  # all files of the pool are looked at else
            return made
        names = self._files.names(connection)
        for disk in disks:  # first, that nothing is made for a VM that does not start
            if not disk.size or f"{domain.DISK}{disk.path}" in names:
                self._check(connection, disk, own)
        for disk in disks:
            name = str(disk.path)
            if disk.size and domain.DISK + name not in self._files.names(connection):
                try:
                    self._files.create(connection, domain.DISK + name, domain.HEAD + disk.size)
                    made.append(name)
                except binding().libvirtError as e:
                    if e.get_error_code() not in store.EXISTS:
                        raise
            self._check(connection, disk, own)
        return made

    def sizes(self, connection: Any, disks: Sequence[Disk]) -> tuple[int, ...]:
        """How many bytes each has, or will have. Raises NotFound, libvirtError."""
        if not disks:
            return ()
        names = self._files.names(connection)
        for disk in disks:
            if not disk.size and f"{domain.DISK}{disk.path}" not in names:
                raise self._missing(str(disk.path))
        found = (self._files.size(connection, f"{domain.DISK}{disk.path}") for disk in disks)
        return tuple(size - domain.HEAD if size else disk.size for size, disk in zip(found, disks, strict=True))

    def _check(self, connection: Any, disk: Disk, own: str) -> None:
        name, there = str(disk.path), self._host.name
        found = self._find(connection, name)
        if not found.whole:
            raise self._half(name)
        others = [user for user in found.users if user.alive and user.uuid != own]
        if names := [user.name for user in others if not (user.readonly and disk.readonly)]:
            raise FloeError(
                f"the disk {name} on {there} is in use by {', '.join(names)}",
                hint=f"floe stop --host {there} {' '.join(names)}, or give the disk to all with :ro",
            )

    def in_use(self, error: HostError) -> FloeError | None:
        """QEMU's own words for a disk that another has, as ours; None for another error."""
        locked = _LOCKED.search(error.message)
        if locked is None:
            return None
        name = os.path.basename(locked[1]).removeprefix(domain.DISK)
        return FloeError(f"the disk {name} on {self._host.name} is in use", hint=f"floe host disk ls {self._host.name}")

    # ---- from here to there and back ----------------------------------------------------------------

    def all(self) -> list[HostDisk]:
        """By name. Raises HostError."""

        def look(connection: Any) -> list[HostDisk]:
            names = self._files.names(connection)
            users = self._users(connection)
            stems = {name.removeprefix(domain.DISK) for name in names if name.startswith(domain.DISK)}
            return [self._disk(connection, name, HALF + name not in names, users) for name in sorted(stems)]

        return self._host.ask(look)

    def push(self, name: str, fd: int) -> int:
        """Bring a file there as a new disk; how many of its bytes were sent, which zeros are not. Raises FloeError
        where there is a disk of that name, HostError; nothing is left of it then, as far as the host answers."""
        size = os.lseek(fd, 0, os.SEEK_END)
        begun = started(lambda: self._host.ask(lambda c: self._begin(c, name, size)))
        try:
            begun.result()
        except KeyboardInterrupt:
            if begun.exception() is None:
                self._take_back(name)
            raise
        sent = 0
        try:
            for at, piece in _pieces(fd, size):
                self._host.ask(partial(self._send, name=name, at=at, piece=piece), deadline_s=store.BRING_S)
                sent += len(piece)
            self._host.ask(lambda c: self._files.forget(c, [HALF + name]))
        except BaseException as e:
            self._take_back(name)
            if isinstance(e, HostError) and "No space left on device" in e.message:
                raise self._files.full() from None
            raise
        return sent

    def pull(self, name: str, fd: int) -> int:
        """Write a disk into an empty file of this machine; how many bytes came. Raises NotFound; FloeError where a VM
        writes it, or has written it meanwhile; HostError, OSError."""
        size, written = self._host.ask(lambda c: self._quiet(c, name))
        os.ftruncate(fd, size)
        stream = self._host.ask(lambda c: self._files.sparse(c, domain.DISK + name, domain.HEAD))
        at = came = 0
        try:
            while piece := self._host.ask(lambda c: _received(stream), deadline_s=store.ASK_S):
                if isinstance(piece, bytes):
                    view = memoryview(piece)
                    while view:
                        count = os.pwrite(fd, view, at)
                        view, at, came = view[count:], at + count, came + count
                else:
                    at += piece
            self._host.ask(lambda c: stream.finish())
        except BaseException:
            with suppress(FloeError):  # it has ended with the connection
                self._host.ask(lambda c: store.abort(stream))
            raise
        if (at, self._host.ask(lambda c: self._quiet(c, name))) != (size, (size, written)):
            raise FloeError(f"the disk {name} on {self._host.name} was written meanwhile", hint="again")
        os.fsync(fd)
        return came

    def remove(self, name: str) -> None:
        """Raises NotFound; FloeError where a VM has it, also one that has ended; HostError."""

        def forget(connection: Any) -> None:
            names = self._files.names(connection)
            if HALF + name in names and domain.DISK + name not in names:  # who brought it was killed at once
                self._files.forget(connection, [HALF + name])
                return
            found = self._find(connection, name)
            there = self._host.name
            if users := [user.name for user in found.users]:
                end = "--force " if any(user.alive for user in found.users) else ""
                raise FloeError(
                    f"the disk {name} on {there} is that of {', '.join(users)}",
                    hint=f"floe rm {end}--host {there} {' '.join(users)}, and again",
                )
            self._files.forget(connection, [domain.DISK + name, HALF + name])

        self._host.ask(forget)

    def collect(self, connection: Any) -> int:
        """Remove what was brought there in part and given up; how many bytes that was."""
        names = self._files.names(connection)
        halves = [name for name in names if name.startswith(HALF)]
        clock = self._files.clock(connection) if halves else 0.0
        gone = 0
        for half in halves:
            both = [domain.DISK + half.removeprefix(HALF), half]
            there = [file for file in both if file in names]
            if any(clock - self._files.written(connection, file, clock) < store.GIVEN_UP_S for file in there):
                continue
            size = self._files.size(connection, both[0])
            with suppress(binding().libvirtError):  # it is written to
                self._files.forget(connection, both)
                gone += size
        return gone

    # ---- steps --------------------------------------------------------------------------------------

    def _find(self, connection: Any, name: str) -> HostDisk:
        names = self._files.names(connection)
        if domain.DISK + name not in names:
            raise self._missing(name)
        return self._disk(connection, name, HALF + name not in names, self._users(connection))

    def _disk(self, connection: Any, name: str, whole: bool, users: dict[str, list[User]]) -> HostDisk:
        size, used = self._files.sizes(connection, domain.DISK + name)
        return HostDisk(
            name, max(0, size - domain.HEAD), used, whole, tuple(users.get(self._path(connection, name), ()))
        )

    def _path(self, connection: Any, name: str) -> str:
        return f"{self._files.folder(connection)}/{domain.DISK}{name}"

    def _users(self, connection: Any) -> dict[str, list[User]]:
        """Of each file, others' domains among them."""
        libvirt = binding()
        found: dict[str, list[User]] = {}
        for dom in connection.listAllDomains():
            try:
                alive = bool(dom.isActive())
                root = ElementTree.fromstring(dom.XMLDesc(0))
            except libvirt.libvirtError as e:
                if e.get_error_code() != _NO_DOMAIN:  # it goes just now
                    raise
                continue
            for path, readonly in domain.disks_of(root):
                found.setdefault(path, []).append(User(dom.name(), dom.UUIDString(), alive, readonly))
        return {path: sorted(users, key=lambda user: user.name) for path, users in found.items()}

    def _begin(self, connection: Any, name: str, size: int) -> None:
        """From here on the name is ours."""
        libvirt = binding()
        there = self._host.name
        self._files.names(connection)  # libvirt looks, as somebody may have removed a file by hand
        try:
            self._files.create(connection, HALF + name, 0)
        except libvirt.libvirtError as e:
            if e.get_error_code() not in store.EXISTS:
                raise
            raise self._half(name) from None
        try:
            self._files.create(connection, domain.DISK + name, domain.HEAD + size)
        except libvirt.libvirtError as e:
            self._files.forget(connection, [HALF + name])
            if e.get_error_code() not in store.EXISTS:
                raise
            hint = f"another name, or floe host disk rm {there} {name}"
            raise FloeError(f"{there} has a disk {name} already", hint=hint) from None

    def _send(self, connection: Any, name: str, at: int, piece: bytes) -> None:
        """And read it back: libvirt does not always say that a disk was full."""
        file, at = domain.DISK + name, domain.HEAD + at
        self._files.put(connection, file, at, piece)
        if self._files.read(connection, file, at, len(piece)) != piece:
            if self._files.room(connection) < len(piece):
                raise self._files.full()
            raise HostError(f"{self._host.name} gave back another disk than it was sent", hint="again")

    def _take_back(self, name: str) -> None:
        with suppress(FloeError):  # what is to be told has happened before; what is left is told as half a disk
            self._host.ask(lambda c: self._undo(c, name), deadline_s=_UNDO_S + store.ASK_S)

    def _undo(self, connection: Any, name: str) -> None:
        """A piece may still be on its way, and libvirt deletes no file that it writes."""
        libvirt = binding()
        for _ in range(int(_UNDO_S / store.LOOK_S)):
            try:
                self._files.forget(connection, [domain.DISK + name, HALF + name])
                return
            except libvirt.libvirtError:
                store.wait()

    def _quiet(self, connection: Any, name: str) -> tuple[int, float]:
        """Size, and when it was last written, of a whole disk that no VM writes now."""
        found = self._find(connection, name)
        if not found.whole:
            raise self._half(name)
        there = self._host.name
        for user in found.users:  # one at most
            if user.alive and not user.readonly:
                hint = f"floe stop --host {there} {user.name} first, or floe cp --host {there} for single files"
                raise FloeError(f"the disk {name} on {there} is written by {user.name}", hint=hint)
        return found.size, self._files.written(connection, domain.DISK + name, 0.0)

    def _missing(self, name: str) -> NotFound:
        there = self._host.name
        makes = f"--disk {name}:size=16M makes one"
        here = f"floe host disk push {there} {name} brings this machine's there; " if Path(name).is_file() else ""
        return NotFound(f"there is no disk {name} on {there}", hint=f"{here}{makes}; floe host disk ls {there}")

    def _half(self, name: str) -> FloeError:
        there = self._host.name
        problem = f"the disk {name} on {there} is not whole: it is just being brought there, or that was given up"
        return FloeError(problem, hint=f"of what was given up: floe host disk rm {there} {name}, and push it again")


def _pieces(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    """What a file holds, but for zeros, with its place."""
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA) // _PIECE * _PIECE
        except OSError as e:
            if e.errno == errno.ENXIO:  # nothing but a hole behind; a block device has another error, and is read
                return
        piece = os.pread(fd, min(_PIECE, size - at), at)
        if not piece:
            return
        if piece != _ZEROS[: len(piece)]:
            yield at, piece
        at += len(piece)


def _received(stream: Any) -> bytes | int:
    """Bytes, or the length of a hole; nothing at the end."""
    got = stream.recvFlags(_RECEIVED, binding().VIR_STREAM_RECV_STOP_AT_HOLE)
    if got != _HOLE:
        return bytes(got)
    return int(stream.recvHole())
