# SPDX-License-Identifier: MIT
"""Where the labs' files are kept: below $XDG_CACHE_HOME/floe/lab, one folder for each set of packages.

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from floe.errors import FloeError
from floe.lab import packages

Say = Callable[[str], None]
_DIGITS = 16
_KEEP_S = 14 * 86400
AGENT = Path(__file__).parent / "inside" / "agent"  # what takes scripts in the lab


@dataclass(frozen=True)
class Recipe:
    """How a lab's files are made. pins: of the packages. build: from their files to contents by name. code: what else
    the contents depend on. shown: the start of a package's name -> what its version is the version of."""

    purpose: str  # "the Xen lab"
    any_version: str  # the command that does not insist on the pins
    pins: Path
    extras: tuple[str, ...]
    build: Callable[[Iterable[Path]], dict[str, bytes]]
    code: tuple[Path, ...]
    shown: dict[str, str]

    def mirror(self, say: Say) -> packages.Mirror:
        """The packages' mirror. Raises as packages.Mirror."""
        suite = packages.load(self.pins).suite
        return packages.Mirror(suite, root() / "apt", say, purpose=self.purpose, any_version=self.any_version)

    def chosen(self) -> tuple[packages.Package, ...]:
        """The pinned packages."""
        pins = packages.load(self.pins)
        return tuple(p for extra in self.extras for p in pins.of(extra))


@dataclass(frozen=True)
class Assets:
    """A folder with what the recipe builds. versions: as Debian numbers them."""

    folder: Path
    versions: dict[str, str]


def root() -> Path:
    """The cache folder; $XDG_CACHE_HOME is $HOME/.cache if not set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "floe" / "lab"


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


def bring(recipe: Recipe, say: Say, *, any_version: bool = False, fresh: bool = False) -> Assets:
    """A lab's files, downloaded and built where they are not there yet. Raises FloeError and what packages.Mirror
    raises."""
    with locked(root() / "lock", say):
        chosen = recipe.chosen()
        if any_version:
            chosen = recipe.mirror(say).newest(chosen)
        target = root() / _digest(recipe, chosen)
        if fresh or not (target / "versions.json").exists():
            _build(recipe, chosen, target, say)
            forget_old(root(), "[0-9a-f]" * _DIGITS)
        os.utime(target)
        return Assets(target, json.loads((target / "versions.json").read_text()))


def debs(recipe: Recipe, wanted: Sequence[packages.Package], say: Say) -> list[Path]:
    """The files of some packages. Raises as bring()."""
    with locked(root() / "lock", say):
        folder = _debs()
        recipe.mirror(say).fetch(wanted, folder)
        return [folder / p.file for p in wanted]


def _build(recipe: Recipe, chosen: tuple[packages.Package, ...], target: Path, say: Say) -> None:
    folder = _debs()
    recipe.mirror(say).fetch(chosen, folder)
    say(f"building {recipe.purpose}'s image")
    with made(target) as scratch:
        for name, content in recipe.build(folder / p.file for p in chosen).items():
            (scratch / name).write_bytes(content)
        shown = recipe.shown.items()
        versions = {label: p.version for prefix, label in shown for p in chosen if p.name.startswith(prefix)}
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


def _digest(recipe: Recipe, chosen: tuple[packages.Package, ...]) -> str:
    """Of all that the folder's content depends on: the packages, our scripts, and the code that puts them together."""
    here = Path(__file__).parent
    digest = hashlib.sha256(recipe.purpose.encode())
    for p in chosen:
        digest.update(f"{p.name} {p.version}\n".encode())
    code = [here / f"{name}.py" for name in ("tree", "cpio", "deb", "bzimage")]
    for path in (AGENT, *code, *recipe.code):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:_DIGITS]
