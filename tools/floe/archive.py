# SPDX-License-Identifier: MIT
"""Unpack a release archive (tar.gz, tar.bz2, tar.xz, zip) that holds one top folder. Standard library only."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from floe.errors import UpstreamError

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


def unpack(archive: Path, into: Path, left_out: Callable[[str], None] | None = None) -> None:
    """Unpack into a folder that does not exist yet, without the archive's top folder.

    Raises UpstreamError when the archive is damaged, has more than one top folder, or has an entry that
    would leave `into`. What was written by then stays: the caller unpacks into a scratch folder.
    left_out: told of each symbolic link that leaves `into`, which then is no error.
    """
    into.mkdir(parents=True)
    try:
        if archive.suffix == ".zip":
            _unzip(archive, into)
        else:
            _untar(archive, into, left_out)
    except OSError as e:
        if e.errno is not None:  # the disk's fault; a damaged gzip has no error number
            raise UpstreamError(f"cannot unpack {archive.name}: {e.strerror}", hint="df -h .") from e
        raise _damaged(archive, e) from e
    except _DAMAGED as e:
        raise _damaged(archive, e) from e


def _damaged(archive: Path, e: Exception) -> UpstreamError:
    return UpstreamError(f"{archive.name} is damaged: {e}", hint=f"remove {archive} and run the same command again")


def _inner(archive: Path, name: str, top: list[str]) -> PurePosixPath | None:
    """The path below the top folder; None for the top folder itself."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UpstreamError(f"{archive.name} has an entry outside its folder: {name!r}")
    if not top:
        top.append(path.parts[0])
    if path.parts[0] != top[0]:
        raise UpstreamError(f"{archive.name} has more than one top folder: {top[0]!r}, {path.parts[0]!r}")
    return PurePosixPath(*path.parts[1:]) if len(path.parts) > 1 else None


def _untar(archive: Path, into: Path, left_out: Callable[[str], None] | None) -> None:
    top: list[str] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if (inner := _inner(archive, member.name, top)) is None:
                continue
            target = into / inner
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.isfile():
                source = tar.extractfile(member)
                assert source is not None
                _write(target, source)
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
                os.utime(target, (member.mtime, member.mtime))
            elif member.issym():
                _symlink(archive, into, inner, member.linkname, left_out)
            else:
                raise UpstreamError(
                    f"{archive.name} has an entry that is no file, folder or symbolic link: {member.name!r}"
                )


def _unzip(archive: Path, into: Path) -> None:
    top: list[str] = []
    with zipfile.ZipFile(archive) as z:
        for info in z.infolist():
            if (inner := _inner(archive, info.filename, top)) is None:
                continue
            if info.is_dir():
                (into / inner).mkdir(parents=True, exist_ok=True)
            else:
                with z.open(info) as source:
                    _write(into / inner, source)


def _write(target: Path, source: IO[bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        shutil.copyfileobj(source, out)


def _symlink(archive: Path, into: Path, inner: PurePosixPath, to: str, left_out: Callable[[str], None] | None) -> None:
    end = os.path.normpath(os.path.join(str(inner.parent), to))
    if os.path.isabs(to) or end.startswith(".."):
        if left_out is not None:
            left_out(f"the symbolic link {inner} -> {to}, which leaves the archive")
            return
        raise UpstreamError(f"{archive.name} has a symbolic link that leaves its folder: {inner} -> {to}")
    (into / inner).parent.mkdir(parents=True, exist_ok=True)
    (into / inner).symlink_to(to)
