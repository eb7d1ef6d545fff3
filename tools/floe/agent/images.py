# SPDX-License-Identifier: MIT
"""Images that other hosts have sent: $XDG_CACHE_HOME/floe/images, each named by its SHA-256, the last ones alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path

_KEPT = 16
_PART_S = 86400.0  # what has been on its way for so long was left by an agent that was killed


def folder() -> Path:
    """Where they are; $XDG_CACHE_HOME is $HOME/.cache if not set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "floe" / "images"


def find(digest: str) -> Path | None:
    """An image that is here, and is what it was; None: it is to be sent."""
    path = folder() / f"{digest}.elf"
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return None
        os.utime(path)
    except OSError:
        return None
    return path


class Arriving:
    """An image on its way here. Raises OSError, also what write() and whole() do."""

    def __init__(self, digest: str, size: int) -> None:
        self._digest = digest
        self._missing = size
        folder().mkdir(parents=True, exist_ok=True)
        self._fd, name = tempfile.mkstemp(dir=folder(), prefix=".part-")
        self._path = Path(name)

    def write(self, offset: int, data: bytes) -> bool:
        """The next bytes. True: it is whole."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done
        self._missing -= len(data)
        return self._missing <= 0

    def whole(self) -> Path | None:
        """Keep it; None for one that is not what it was to be."""
        if hashlib.sha256(self._path.read_bytes()).hexdigest() != self._digest:
            return None
        path = folder() / f"{self._digest}.elf"
        os.replace(self._path, path)
        _prune()
        return path

    def close(self) -> None:
        """Let go of what is not kept."""
        os.close(self._fd)
        self._path.unlink(missing_ok=True)


def _prune() -> None:
    """Those that were used longest ago make room."""
    with contextlib.suppress(OSError):
        found = sorted(folder().glob("*.elf"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in found[_KEPT:]:
            path.unlink(missing_ok=True)
        for path in folder().glob(".part-*"):
            if time.time() - path.stat().st_mtime > _PART_S:
                path.unlink(missing_ok=True)
