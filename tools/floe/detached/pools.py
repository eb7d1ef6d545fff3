# SPDX-License-Identifier: MIT
"""Pools: detached VMs restored from one snapshot that wait to be claimed. Each is a machine of its own, its script
paused. A pool's wanted size is in a file, which is locked while VMs are added or ended; a claim starts another process
that refills the pool: `python -m floe.detached.pools FD FILE`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from floe.detached import control, launch
from floe.errors import FloeError, VmError
from floe.snapshot.file import Snapshot
from floe.store import vmfolder
from floe.store.vmfolder import Folder
from floe.vm import restored

_ROOM, _WORDS = 4096, 600  # bytes of a pool's file; letters of a problem, of which JSON may make six bytes each
_CLAIM_S = 10.0


def waiting(snapshot: Snapshot) -> list[Folder]:
    """The waiting VMs of this snapshot's pool, oldest first; damaged ones are left out."""
    found = []
    for folder in vmfolder.everything():
        with contextlib.suppress(FloeError):  # damaged, or just removed
            if folder.spec.pool == snapshot.identity and folder.life.waiting and not folder.over:
                found.append((folder.spec.created, folder))
    return [folder for _, folder in sorted(found, key=lambda pair: pair[0])]


def claim(snapshot: Snapshot, wanted: Callable[[Folder], bool] = lambda folder: True) -> Folder | None:
    """Let the script of a waiting VM that is wanted go on, and return its folder; another process refills the pool.
    None: no such VM waits. A keeper that does not answer within _CLAIM_S seconds is passed over."""
    for folder in waiting(snapshot):
        with contextlib.suppress(VmError):  # its keeper hangs
            if not wanted(folder):
                continue
            # A keeper that hung must not act on a claim after we gave up on it.
            until = time.monotonic() + _CLAIM_S / 2
            answer = control.ask(folder, {"do": "claim", "until": until}, timeout_s=_CLAIM_S)
            if answer is not None and answer.get("claimed"):
                _fill_later(snapshot)
                return folder
    _fill_later(snapshot)  # all may have ended, as after a restart of the host
    return None


def keep(snapshot: Snapshot, size: int, name: str | None, told: Callable[[Folder], None] = lambda folder: None) -> None:
    """Set the pool's size; 0 ends it and its VMs. name: base of the VMs' names; None: the app's. told: called with each
    new VM. Raises FloeError, OSError (the pool's file): VMs that were made by then stay and wait."""
    path = _path(snapshot.identity)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path, os.O_CREAT) as fd:
        _write(fd, size, name or "")
        for folder in waiting(snapshot)[size:]:
            _dismiss(folder)
        _fill(snapshot, size, name, told)
        if size == 0:
            path.unlink()


def problem(snapshot: Snapshot) -> str:
    """Why the last refill failed; "" if it did not, or if there is no pool."""
    with contextlib.suppress(OSError), _path(snapshot.identity).open("rb") as f:
        return _read(f.fileno())[2]
    return ""


def _write(fd: int, size: int, name: str, why_not: str = "") -> None:
    """In place, over what it held: a full disk has room for that."""
    os.pwrite(fd, json.dumps([size, name, why_not[:_WORDS]]).encode().ljust(_ROOM), 0)


def _read(fd: int) -> tuple[int, str, str]:
    size, name, why_not = json.loads(os.pread(fd, _ROOM, 0).strip() or b'[0, "", ""]')
    return int(size), str(name), str(why_not)


def _dismiss(folder: Folder) -> None:
    """End a waiting VM and remove its folder, unless it is claimed meanwhile. Raises FloeError."""
    try:
        answer = control.ask(folder, {"do": "dismiss"}, timeout_s=_CLAIM_S)
    except VmError:  # its keeper hangs
        answer = None
    if folder.life.waiting if answer is None else answer.get("dismissed"):
        control.remove(folder, force=True)


def _fill(snapshot: Snapshot, size: int, name: str | None, told: Callable[[Folder], None]) -> None:
    """Add the VMs that are missing. The caller holds the lock. Raises FloeError, OSError."""
    for _ in range(size - len(waiting(snapshot))):
        spec = restored.spec_of(snapshot, (), "vm")
        told(launch.go_on(spec, snapshot, name=None, base=name, waits=True))


def _fill_later(snapshot: Snapshot) -> None:
    """In a process that nobody waits for."""
    if _path(snapshot.identity).exists():
        subprocess.Popen(
            [sys.executable, "-P", "-m", "floe.detached.pools", str(snapshot.fd), snapshot.shown],
            pass_fds=[snapshot.fd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _path(identity: str) -> Path:
    return vmfolder.root().with_name("pools") / identity


@contextlib.contextmanager
def _locked(path: Path, flags: int = 0) -> Iterator[int]:
    """The file of a pool, open and locked. Raises FileNotFoundError: there is no pool; OSError."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:  # else keep(0) has just removed the file
                yield fd
                return
        finally:
            os.close(fd)


def main() -> None:
    """Refill one pool."""
    snapshot = Snapshot(int(sys.argv[1]), sys.argv[2])
    with contextlib.suppress(FileNotFoundError), _locked(_path(snapshot.identity)) as fd:
        size, name, _ = _read(fd)
        try:
            _fill(snapshot, size, name or None, lambda folder: None)
        except (FloeError, OSError) as e:
            _write(fd, size, name, e.message if isinstance(e, FloeError) else str(e))
        else:
            _write(fd, size, name)


if __name__ == "__main__":
    main()
