# SPDX-License-Identifier: MIT
"""Unpack a release archive (tar.gz, tar.bz2, tar.xz, zip) that holds one top folder, or a wheel, which holds several.
Nothing is written outside the folder that is named, whatever the archive says. Standard library only."""

from __future__ import annotations

import errno
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from floe.errors import UpstreamError

MAX_BYTES = 1 << 30  # of an archive, unpacked
MAX_ENTRIES = 100_000
_CHUNK = 1 << 20
# What the libraries raise for what they cannot read: a number that is none, another compression, a password.
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
)
# What the system says of names that are no names, or are there already.
_ITS_OWN_FAULT = {
    errno.EEXIST,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EINVAL,
    errno.ELOOP,
}


def unpack(archive: Path, into: Path, left_out: Callable[[str], None] | None = None) -> None:
    """Unpack into a folder that does not exist yet, without the archive's top folder; a wheel as it is.

    Raises UpstreamError when the archive is damaged, has more than one top folder, has more than MAX_BYTES or
    MAX_ENTRIES, or has an entry that would leave `into`. What was written by then stays: the caller unpacks into a
    scratch folder.
    left_out: told of each symbolic link that leaves `into`, which then is no error.
    """
    into.mkdir(parents=True)
    tree = _Tree(archive, Path(os.path.realpath(into)), left_out)
    try:
        if archive.suffix in (".zip", ".whl"):
            _unzip(archive, tree)
        else:
            _untar(archive, tree)
        tree.check_links()
    except OSError as e:
        if e.errno is not None and e.errno not in _ITS_OWN_FAULT:  # a damaged gzip has no error number
            raise UpstreamError(f"cannot unpack {archive.name}: {e.strerror}", hint="df -h .") from e
        raise _damaged(archive, e) from e
    except _DAMAGED as e:
        raise _damaged(archive, e) from e


def _damaged(archive: Path, e: Exception) -> UpstreamError:
    problem = e.strerror if isinstance(e, OSError) and e.strerror else e
    return UpstreamError(
        f"{archive.name} is damaged: {problem}", hint=f"remove {archive} and run the same command again"
    )


@dataclass
class _Tree:
    """What an archive becomes, below `root`. links: the symbolic links made so far; room: bytes that may still come."""

    archive: Path
    root: Path
    left_out: Callable[[str], None] | None
    room: int = field(default_factory=lambda: MAX_BYTES)
    entries: int = 0
    top: str = ""
    links: list[PurePosixPath] = field(default_factory=list)

    def inner(self, name: str) -> PurePosixPath | None:
        """The path below the top folder; None for the top folder itself."""
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise UpstreamError(f"{self.archive.name} has more than {MAX_ENTRIES:,} entries")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise self._outside(name)
        if self.archive.suffix == ".whl":
            return path
        self.top = self.top or path.parts[0]
        if path.parts[0] != self.top:
            raise UpstreamError(f"{self.archive.name} has more than one top folder: {self.top!r}, {path.parts[0]!r}")
        return PurePosixPath(*path.parts[1:]) if len(path.parts) > 1 else None

    def folder(self, inner: PurePosixPath) -> None:
        self._place(inner / "x")

    def file(self, inner: PurePosixPath, source: IO[bytes]) -> Path:
        target = self._place(inner)
        with target.open("xb") as out:
            while chunk := source.read(_CHUNK):
                self.room -= len(chunk)
                if self.room < 0:
                    raise UpstreamError(f"{self.archive.name} is larger than {MAX_BYTES >> 20} MiB when it is unpacked")
                out.write(chunk)
        return target

    def link(self, inner: PurePosixPath, to: str) -> None:
        end = os.path.normpath(os.path.join(str(inner.parent), to))
        if os.path.isabs(to) or end == ".." or end.startswith("../"):
            self._leaves(inner, to)
            return
        self._place(inner).symlink_to(to)
        self.links.append(inner)

    def check_links(self) -> None:
        """By way of another link, one may leave the folder that its own words do not leave."""
        for inner in self.links:
            path = self.root / inner
            if not self._holds(path):
                to = os.readlink(path)
                path.unlink()
                self._leaves(inner, to)

    def _place(self, inner: PurePosixPath) -> Path:
        """Where an entry goes; its folder is there. A link on the way must not lead outside."""
        target = self.root / inner
        if self.links and not self._holds(target.parent):
            raise self._outside(str(inner))
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _holds(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self.root)

    def _leaves(self, inner: PurePosixPath, to: str) -> None:
        if self.left_out is None:
            raise UpstreamError(f"{self.archive.name} has a symbolic link that leaves its folder: {inner} -> {to}")
        self.left_out(f"the symbolic link {inner} -> {to}, which leaves the archive")

    def _outside(self, name: str) -> UpstreamError:
        return UpstreamError(f"{self.archive.name} has an entry outside its folder: {name!r}")


def _untar(archive: Path, tree: _Tree) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            if (inner := tree.inner(member.name)) is None:
                continue
            if member.isdir():
                tree.folder(inner)
            elif member.isfile() or member.islnk():
                target = tree.file(inner, _content(archive, tar, member))
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
                os.utime(target, (member.mtime, member.mtime))
            elif member.issym():
                tree.link(inner, member.linkname)
            else:
                raise UpstreamError(f"{archive.name} has an entry that is no file, folder or link: {member.name!r}")


def _content(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """Of a file, or of the one before it that a hard link names."""
    try:
        source = tar.extractfile(member)
    except KeyError:
        source = None
    if source is None:
        raise UpstreamError(f"{archive.name} has a hard link to no file of its own: {member.name} -> {member.linkname}")
    return source


def _unzip(archive: Path, tree: _Tree) -> None:
    with zipfile.ZipFile(archive) as z:
        for info in z.infolist():
            if (inner := tree.inner(info.filename)) is None:
                continue
            if info.is_dir():
                tree.folder(inner)
            else:
                with z.open(info) as source:
                    tree.file(inner, source)
