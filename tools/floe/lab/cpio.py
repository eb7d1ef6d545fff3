# SPDX-License-Identifier: MIT
"""Write a cpio archive as Linux takes it for an initramfs: "newc", by its early-userspace/buffer-format document.

All owners are root and all times zero: the same content gives the same bytes, and no root is needed to write it.
"""

from __future__ import annotations

import stat
from pathlib import PurePosixPath

_TRAILER = "TRAILER!!!"


class Archive:
    """An archive in memory. Folders above a path are made with it."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._folders: set[str] = set()
        self._inode = 0

    def folder(self, path: str, mode: int = 0o755) -> None:
        """A folder; a second time does nothing."""
        if path not in self._folders:
            self._parents(path)
            self._folders.add(path)
            self._entry(path, stat.S_IFDIR | mode, b"")

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """A regular file."""
        self._parents(path)
        self._entry(path, stat.S_IFREG | mode, data)

    def link(self, path: str, to: str) -> None:
        """A symbolic link."""
        self._parents(path)
        self._entry(path, stat.S_IFLNK | 0o777, to.encode())

    def character_device(self, path: str, major: int, minor: int) -> None:
        """A character device, read and written by root alone."""
        self._parents(path)
        self._entry(path, stat.S_IFCHR | 0o600, b"", (major, minor))

    def finish(self) -> bytes:
        """The archive, ended."""
        self._inode = -1
        self._entry(_TRAILER, 0, b"")
        return bytes(self._out)

    def _parents(self, path: str) -> None:
        if not path or path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"not a path below the root: {path!r}")
        parent = str(PurePosixPath(path).parent)
        if parent != ".":
            self.folder(parent)

    def _entry(self, path: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        name = path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self._inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name), 0)
        self._out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self._out += bytes(-len(self._out) % 4) + data
        self._out += bytes(-len(self._out) % 4)
