# SPDX-License-Identifier: MIT
"""Files on a host, in a storage pool of libvirt's: images, disks, what VMs are handed, what they say.

An image has its digest as its name, and is there once for all VMs. It is whole when the empty file beside it says so,
which is made last, once the host has given back what it was sent: half an upload has none, and the next one replaces
it.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from typing import Any
from xml.etree import ElementTree

from floe.errors import HostError, NotFound
from floe.fleet.binding import binding
from floe.fleet.connection import Host

POOL = "floe"
_SYSTEM = "/var/lib/libvirt/floe"
_BLOCK = 1 << 18
_LOOKED_AT = 1 << 16  # bytes from which on a look at the room there costs less than to send them
_PATIENCE_S = 60.0  # for another client, which is just bringing the same image
_MAKING_S = 3.0  # for another client, which is just making the pool
LOOK_S = 0.2
BRING_S = 120.0  # what it may take to bring an image there
ASK_S = 30.0

# virErrorNumber
NO_POOL, NO_VOLUME = 49, 50
EXISTS = (9, 90)  # VIR_ERR_OPERATION_FAILED, VIR_ERR_STORAGE_VOL_EXIST
HANDED = ".handed"  # with a number: what a VM is handed, there while its QEMU starts
STATE = ".state"  # all of a VM's state, there while it is brought or fetched
IMAGE, WHOLE, NOW = ".elf", ".whole", ".now"
ABANDONED_S = 10.0  # what was not written to for so long, and not finished, is nobody's any more
GIVEN_UP_S = 120.0  # the same, of what a start or a snapshot leaves behind
_REFRESHES = 50
_DIGEST = re.compile("[0-9a-f]{64}")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Store:
    """The pool of one host. Its methods take the connection that Host.ask() lends, but for bring()."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._folder = ""
        # A connection and its pool: a look for it costs two questions, and each file would have one.
        self._found: tuple[Any, Any] = (None, None)

    def bring(self, content: bytes, digest: str = "") -> tuple[str, str]:
        """An image's path there and its digest; it is sent only where it is not. digest: where it is known. Raises
        HostError."""
        digest = digest or hashlib.sha256(content).hexdigest()
        return self._host.ask(lambda c: self._bring(c, digest, content), deadline_s=BRING_S), digest

    def folder(self, connection: Any) -> str:
        """Where the pool's files lie; it is made where there is none."""
        if not self._folder:
            self._folder = _folder_of(self._pool(connection))
        return self._folder

    def write(self, connection: Any, name: str, content: bytes, mode: str = "0600") -> str:
        """A new file's path."""
        volume = self.create(connection, name, len(content), mode)
        if content:
            self._send(connection, volume, content)
        return str(volume.path())

    def create(self, connection: Any, name: str, size: int, mode: str = "0600") -> Any:
        """A new file of zeros, as libvirt's volume."""
        root = ElementTree.Element("volume", type="file")
        ElementTree.SubElement(root, "name").text = name
        ElementTree.SubElement(root, "capacity", unit="bytes").text = str(size)
        ElementTree.SubElement(root, "allocation", unit="bytes").text = "0"
        target = ElementTree.SubElement(root, "target")
        ElementTree.SubElement(target, "format", type="raw")
        ElementTree.SubElement(ElementTree.SubElement(target, "permissions"), "mode").text = mode
        return self._pool(connection).createXML(ElementTree.tostring(root, encoding="unicode"), 0)

    def append(self, connection: Any, name: str, size: int, content: bytes) -> None:
        """Write behind the first `size` bytes of a file, which has no more."""
        self.put(connection, name, size, content)

    def put(self, connection: Any, name: str, at: int, content: bytes) -> None:
        """Write into a file."""
        self._send(connection, self._pool(connection).storageVolLookupByName(name), content, at)

    def read(self, connection: Any, name: str, offset: int = 0, limit: int = 0) -> bytes:
        """A file from there on; b"" where there is none. limit: so many bytes at most, 0: all."""
        try:
            volume = self._pool(connection).storageVolLookupByName(name)
        except binding().libvirtError as e:
            if e.get_error_code() == NO_VOLUME:
                return b""
            raise
        return _download(connection, volume, offset, limit)

    def sparse(self, connection: Any, name: str, offset: int) -> Any:
        """A file from there on as a stream, with its holes."""
        volume, stream = self._pool(connection).storageVolLookupByName(name), connection.newStream()
        volume.download(stream, offset, 0, binding().VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
        return stream

    def room(self, connection: Any) -> int:
        """Bytes that are free there."""
        self.names(connection)
        return int(self._pool(connection).info()[3])

    def sizes(self, connection: Any, name: str) -> tuple[int, int]:
        """How many bytes a file has, and how many of the host's disk it takes."""
        return self.size(connection, name), int(self._pool(connection).storageVolLookupByName(name).info()[2])

    def written(self, connection: Any, name: str, clock: float) -> float:
        """When a file was last written, by the host's clock; `clock`, where it has just been removed."""
        try:
            return _written_at(self._pool(connection).storageVolLookupByName(name))
        except binding().libvirtError as e:
            if e.get_error_code() != NO_VOLUME:
                raise
            return clock

    def clock(self, connection: Any) -> float:
        """The host's, as its files have it."""
        now = f"{uuid.uuid4()}{NOW}"
        try:
            return _written_at(self.create(connection, now, 0, "0600"))
        finally:
            _deleted(self._pool(connection), now)

    def full(self) -> HostError:
        """There is no room."""
        name = self._host.name
        return HostError(f"the disk of {name} is full", hint=f"floe host gc {name}, or make room there: df -h")

    def size(self, connection: Any, name: str) -> int:
        """How many bytes a file has now; 0 where there is none."""
        libvirt = binding()
        try:
            volume = self._pool(connection).storageVolLookupByName(name)
            return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])
        except libvirt.libvirtError as e:
            if e.get_error_code() == NO_VOLUME:
                return 0
            raise

    def names(self, connection: Any) -> list[str]:
        """All files, looked at anew."""
        libvirt = binding()
        pool = self._pool(connection)
        for left in reversed(range(_REFRESHES)):
            try:
                pool.refresh()
                break
            except libvirt.libvirtError as e:  # not while a file is made
                if (
                    e.get_error_code() != libvirt.VIR_ERR_INTERNAL_ERROR
                    or "asynchronous jobs" not in str(e)
                    or not left
                ):
                    raise
                wait()
        return sorted(pool.listVolumes())

    def collect(
        self, connection: Any, kernels: Callable[[], Collection[str]], uuids: Callable[[], Collection[str]]
    ) -> int:
        """Remove images that are no domain's kernel, what half uploads, given up starts and snapshots have left; how
        many bytes that was. Both are asked for once it is known what there is. Whole disks stay."""
        names = self.names(connection)
        used, living = kernels(), uuids()
        folder = self.folder(connection)
        clock = self.clock(connection)
        gone = 0
        for name in sorted(names, key=lambda name: not name.endswith(WHOLE)):  # what says that it is there goes first
            stem, dot, ending = name.partition(".")
            ending = dot + ending
            image = bool(_DIGEST.fullmatch(stem)) and ending in (IMAGE, WHOLE)
            if image and f"{folder}/{stem}{IMAGE}" in used:
                continue
            if not image and (not _UUID.fullmatch(stem) or (stem in living and not ending.startswith((HANDED, STATE)))):
                continue
            half = image and stem + WHOLE not in names
            if (half or not image) and clock - self.written(connection, name, clock) < GIVEN_UP_S:
                continue
            gone += self.size(connection, name)
            _deleted(self._pool(connection), name)  # not where it is written to: libvirt refuses
        return gone

    def forget(self, connection: Any, names: Iterable[str]) -> None:
        """Remove files, as far as they are there."""
        pool = self._pool(connection)
        for name in names:
            try:
                pool.storageVolLookupByName(name).delete()
            except binding().libvirtError as e:
                if e.get_error_code() != NO_VOLUME:
                    raise

    # ---- steps --------------------------------------------------------------------------------------

    def _pool(self, connection: Any) -> Any:
        known, pool = self._found
        if known is not connection:  # who moves a VM reads by a second one
            pool = self._sought_pool(connection)
            self._found = connection, pool
        return pool

    def _sought_pool(self, connection: Any) -> Any:
        libvirt = binding()
        try:
            pool = connection.storagePoolLookupByName(POOL)
        except libvirt.libvirtError as e:
            if e.get_error_code() != NO_POOL:
                raise
            pool = self._new_pool(connection)
        _activate(pool)
        return pool

    def _new_pool(self, connection: Any) -> Any:
        libvirt = binding()
        root = ElementTree.Element("pool", type="dir")
        ElementTree.SubElement(root, "name").text = POOL
        target = ElementTree.SubElement(root, "target")
        ElementTree.SubElement(target, "path").text = self._place()
        ElementTree.SubElement(ElementTree.SubElement(target, "permissions"), "mode").text = "0711"
        try:
            pool = connection.storagePoolDefineXML(ElementTree.tostring(root, encoding="unicode"))
            pool.build()
            pool.setAutostart(True)
        except libvirt.libvirtError:
            end = time.monotonic() + _PATIENCE_S / 10
            while time.monotonic() < end:  # another client makes it just now
                try:
                    found = connection.storagePoolLookupByName(POOL)
                except libvirt.libvirtError:
                    break
                if found.isActive():
                    return found
                wait()
            raise
        return pool

    def _place(self) -> str:
        place = self._host.place
        if place.instance == "system":
            return _SYSTEM
        if place.ssh is not None:
            hint = f"there: virsh -c {place.uri} pool-define-as {POOL} dir --target /a/folder/of/yours"
            raise NotFound(f"{place.name} has no storage pool {POOL}", hint=hint)
        base = os.environ.get("XDG_DATA_HOME", "")
        return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.local/share"), "floe", "libvirt")

    def _bring(self, connection: Any, digest: str, content: bytes) -> str:
        libvirt = binding()
        pool = self._pool(connection)
        name = digest + IMAGE
        end = time.monotonic() + _PATIENCE_S
        while not (_has(pool, digest + WHOLE) and _has(pool, name)):
            try:
                volume = self.create(connection, name, len(content), "0644")
            except libvirt.libvirtError as e:
                if e.get_error_code() not in EXISTS or time.monotonic() > end:
                    raise
                if self._is_abandoned(connection, name):
                    _deleted(pool, name)  # not where it is written to: libvirt refuses
                else:
                    wait()
                continue
            try:
                _deleted(pool, digest + WHOLE)  # of an image that somebody removed
                self._send(connection, volume, content)
                if hashlib.sha256(_download(connection, volume, 0, 0)).hexdigest() != digest:
                    if self.room(connection) < len(content):  # libvirt did not always say so
                        raise self.full()
                    raise HostError(f"{self._host.name} gave back another image than it was sent", hint="again")
                self.create(connection, digest + WHOLE, 0, "0644")
            except BaseException:
                _deleted(pool, name)
                raise
        return f"{self.folder(connection)}/{name}"

    def _send(self, connection: Any, volume: Any, content: bytes, offset: int = 0) -> None:
        """Nothing of what the host's disk has no room for: libvirt 9 does not always say so, and 11.3 hangs up."""
        if len(content) >= _LOOKED_AT and self.room(connection) < len(content):
            raise self.full()
        _upload(connection, volume, content, offset)

    def _is_abandoned(self, connection: Any, name: str) -> bool:
        """Whether half an upload is nobody's any more: it was not written to for a while, by the host's own clock."""
        if not _has(self._pool(connection), name):
            self.names(connection)  # a file that libvirt has not seen yet
        clock = self.clock(connection)
        return clock - self.written(connection, name, clock) > ABANDONED_S


def _activate(pool: Any) -> None:
    """Another client may be just making it: its folder comes after it, and it may be active before we have it so."""
    end = time.monotonic() + _MAKING_S
    while not pool.isActive():
        try:
            pool.create()
        except binding().libvirtError:
            if time.monotonic() > end:
                raise
            wait()


def _folder_of(pool: Any) -> str:
    return ElementTree.fromstring(pool.XMLDesc(0)).findtext("target/path") or _SYSTEM


def _has(pool: Any, name: str) -> bool:
    try:
        pool.storageVolLookupByName(name)
    except binding().libvirtError as e:
        if e.get_error_code() != NO_VOLUME:
            raise
        return False
    return True


def _written_at(volume: Any) -> float:
    return float(ElementTree.fromstring(volume.XMLDesc()).findtext("target/timestamps/mtime") or 0)


def _deleted(pool: Any, name: str) -> bool:
    try:
        pool.storageVolLookupByName(name).delete()
    except binding().libvirtError as e:
        return bool(e.get_error_code() == NO_VOLUME)
    return True


def _upload(connection: Any, volume: Any, content: bytes, offset: int = 0) -> None:
    stream = connection.newStream()
    try:
        volume.upload(stream, offset, len(content))
        view = memoryview(content)
        while view:
            sent = stream.send(bytes(view[:_BLOCK]))
            view = view[sent:]
        stream.finish()
    except BaseException:
        abort(stream)
        raise


def _download(connection: Any, volume: Any, offset: int, limit: int) -> bytes:
    stream = connection.newStream()
    parts: list[bytes] = []
    try:
        volume.download(stream, offset, limit)
        while piece := stream.recv(_BLOCK):
            parts.append(piece)
        stream.finish()
    except BaseException:
        abort(stream)
        raise
    return b"".join(parts)


def abort(stream: Any) -> None:
    """Give up what is on its way."""
    try:
        stream.abort()
    except binding().libvirtError:
        return  # it has ended by itself


def settle() -> None:
    """What QEMU wrote last goes through virtlogd, which may still have it."""
    wait(LOOK_S / 2)


def wait(seconds: float = LOOK_S) -> None:
    threading.Event().wait(seconds)


def read_when(read: Callable[[], bytes], seconds: float) -> bytes:
    """What a file has once there is something in it, or b"" after so long."""
    end = time.monotonic() + seconds
    while not (content := read()) and time.monotonic() < end:
        wait(LOOK_S / 10)
    return content
