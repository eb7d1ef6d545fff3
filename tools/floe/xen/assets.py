# SPDX-License-Identifier: MIT
"""Where the lab's files are kept: below $XDG_CACHE_HOME/floe/xen-lab, one folder for each set of packages.

A folder is made under another name and renamed when it is whole. A lock lets one process at a time make things.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from floe.errors import FloeError
from floe.xen import dom0image, packages

Say = Callable[[str], None]
_DIGITS = 16
_KEEP_S = 14 * 86400
_SHOWN = {"xen-hypervisor": "xen", "linux-image": "linux"}


@dataclass(frozen=True)
class Assets:
    """A folder with xen, vmlinux and dom0.cpio. versions: "xen" and "linux", as Debian numbers them."""

    folder: Path
    versions: dict[str, str]


def root() -> Path:
    """The cache folder; $XDG_CACHE_HOME is $HOME/.cache if not set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "floe" / "xen-lab"


@contextlib.contextmanager
def locked(path: Path, say: Say, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock file, alone or with others that share it, waiting for whoever has it. Raises FloeError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as e:
        hint = "set XDG_CACHE_HOME and XDG_STATE_HOME to folders of yours"
        raise FloeError(f"cannot write {path.parent}: {e.strerror}", hint=hint) from e
    with file:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another floe lab")
            fcntl.flock(file, kind)
        yield


@contextlib.contextmanager
def made(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` at the end, in the place of what was there. Raises FloeError when the
    disk is full; what was written is removed when anything is raised. The caller holds the lock of these folders."""
    for leftover in target.parent.glob(f".{target.name}-*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield scratch
        if target.exists():
            target.rename(scratch / ".old")
        scratch.rename(target)
        shutil.rmtree(target / ".old", ignore_errors=True)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"df -h {target.parent}\nor set XDG_CACHE_HOME to a folder on another disk"
            raise FloeError(f"no room on the disk below {target.parent}", hint=hint) from e
        raise FloeError(f"cannot write {target.parent}: {e.strerror}") from e
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def bring(say: Say, *, any_version: bool = False, fresh: bool = False) -> Assets:
    """The lab's files, downloaded and built where they are not there yet. Raises FloeError and what packages.Mirror
    raises."""
    with locked(root() / "lock", say):
        pins = packages.load()
        chosen = pins.of()
        if any_version:
            chosen = packages.Mirror(pins.suite, root() / "apt", say).newest(chosen)
        target = root() / _digest(chosen)
        if fresh or not (target / "versions.json").exists():
            _build(chosen, pins.suite, target, say)
            forget_old(root(), "[0-9a-f]" * _DIGITS)
        os.utime(target)
        return Assets(target, json.loads((target / "versions.json").read_text()))


def debs(extra: str, say: Say) -> list[Path]:
    """The files of an extra's packages. Raises as bring()."""
    with locked(root() / "lock", say):
        pins = packages.load()
        folder = _debs()
        packages.Mirror(pins.suite, root() / "apt", say).fetch(pins.of(extra), folder)
        return [folder / p.file for p in pins.of(extra)]


def _build(chosen: tuple[packages.Package, ...], suite: str, target: Path, say: Say) -> None:
    folder = _debs()
    packages.Mirror(suite, root() / "apt", say).fetch(chosen, folder)
    say("building the dom0 image")
    with made(target) as scratch:
        for name, content in dom0image.build(folder / p.file for p in chosen).items():
            (scratch / name).write_bytes(content)
        versions = {label: p.version for prefix, label in _SHOWN.items() for p in chosen if p.name.startswith(prefix)}
        (scratch / "versions.json").write_text(json.dumps(versions) + "\n")


def forget_old(folder: Path, pattern: str) -> None:
    """Remove what no lab was started from for a while. A lab that runs keeps its memory's file, without a name."""
    for path in folder.glob(pattern):
        if time.time() - path.stat().st_mtime > _KEEP_S:
            shutil.rmtree(path, ignore_errors=True)


def _debs() -> Path:
    folder = root() / "debs"
    folder.mkdir(exist_ok=True)
    return folder


def _digest(chosen: tuple[packages.Package, ...]) -> str:
    """Of all that the folder's content depends on: the packages, our scripts, and the code that puts them together."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for p in chosen:
        digest.update(f"{p.name} {p.version}\n".encode())
    code = [here / f"{name}.py" for name in ("dom0image", "cpio", "deb", "bzimage")]
    for path in (*sorted(dom0image.SCRIPTS.iterdir()), *code):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:_DIGITS]
