# SPDX-License-Identifier: MIT
"""Read files out of a Debian package, deb(5), without installing it: an ar archive with a tar archive in it."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

from floe.errors import UpstreamError

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_Mode = Literal["r|xz", "r|gz", "r|"]
_KINDS: dict[bytes, _Mode] = {b"data.tar.xz": "r|xz", b"data.tar.gz": "r|gz", b"data.tar": "r|"}


def read(package: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, bytes], dict[str, str]]:
    """(files, links) of a package whose paths, without the leading "./", are wanted: contents, and where symbolic
    links point. Raises UpstreamError when the package is damaged or cut short."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    try:
        with package.open("rb") as f, tarfile.open(fileobj=f, mode=_find_data(f)) as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                if not wanted(path):
                    continue
                if member.issym():
                    links[path] = member.linkname
                elif member.isfile():
                    content = tar.extractfile(member)
                    assert content is not None
                    files[path] = content.read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError) as e:
        hint = f"remove {package} and run the same command again"
        raise UpstreamError(f"{package.name} is damaged: {e}", hint=hint) from e
    except OSError as e:
        raise UpstreamError(f"cannot read {package}: {e.strerror or e}") from e
    return files, links


def _find_data(f: BinaryIO) -> _Mode:
    """Leave `f` at the start of the tar archive and say how tarfile is to open it."""
    if f.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise ValueError("it is no Debian package")
    while len(header := f.read(_AR_HEADER)) == _AR_HEADER:
        name, size = header[:16].strip().rstrip(b"/"), int(header[48:58])
        if name in _KINDS:
            return _KINDS[name]
        if name.startswith(b"data."):
            raise ValueError(f"packed in a way unknown to floe: {name.decode('ascii', 'replace')}")
        f.seek(size + size % 2, 1)
    raise ValueError("it ends before its data")
