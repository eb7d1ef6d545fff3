# SPDX-License-Identifier: MIT
"""Where stacks of VMs are written down: a folder per stack under $XDG_STATE_HOME/floe/stacks. Starts and ends nothing.

A folder holds stack.json (whose file it is of, and which VMs there are for it); the VMs have folders of their own
(vmfolder.py). Who changes a stack holds its lock, which is on the folder itself: nothing of it is left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from floe.errors import FloeError
from floe.store import vmfolder
from floe.store.vmfolder import Process

_LOCK_S = 10.0
_LOOK_S = 0.05


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A VM of a stack: of which table of the file, after which others it comes, and digests of what it was started
    with, each by its key. exit: the code with which it is done, and ready. apart: the name of its table does not stand
    for it, as it is not ready yet, or about to end."""

    vm: str
    after: list[str] = []
    aspects: dict[str, str]
    ready: bool = False
    exit: int | None = None
    apart: bool = False


class Scale(msgspec.Struct, frozen=True):
    """How many replicas are wanted, in place of so many as the file said then."""

    count: int
    said: int


class Stack(msgspec.Struct, kw_only=True):
    """A stack as it is. vms: by the names that `floe ps` shows. carrier: the process that carries its networks, with
    its sockets in the folder `sockets`. addresses: by network and VM. scales: by table of the file."""

    name: str
    file: str
    vms: dict[str, Placed] = {}
    carrier: Process | None = None
    sockets: str = ""
    addresses: dict[str, dict[str, str]] = {}
    scales: dict[str, Scale] = {}


class StackFolder:
    """One stack's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def read(self) -> Stack | None:
        """What is written down; None where there is nothing that makes sense."""
        try:
            return msgspec.json.decode((self.path / "stack.json").read_bytes(), type=Stack)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, stack: Stack) -> None:
        """Replace it as a whole. Raises FloeError."""
        try:
            fd, new = tempfile.mkstemp(dir=self.path, prefix=".stack.")
            try:
                with os.fdopen(fd, "wb") as f:
                    f.write(msgspec.json.encode(stack) + b"\n")
                os.replace(new, self.path / "stack.json")
            except BaseException:
                os.unlink(new)
                raise
        except OSError as e:
            raise FloeError(f"cannot write {self.path}: {e.strerror}", hint="df, or another XDG_STATE_HOME") from e

    def remove(self) -> None:
        """Remove the folder, and that of the sockets. Its processes must be gone."""
        stack = self.read()
        if stack is not None and stack.sockets:
            shutil.rmtree(stack.sockets, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self, wait_s: float = _LOCK_S) -> Iterator[None]:
        """Nobody else changes the stack meanwhile. Raises FloeError when somebody does for long, or has removed it."""
        with _locked(self.path, f"another floe compose is at work on {self.name}", wait_s):
            yield


def root() -> Path:
    """The folder of all stacks' folders."""
    return vmfolder.root().with_name("stacks")


def everything() -> list[StackFolder]:
    """All stacks, by name."""
    try:
        return [StackFolder(path) for path in sorted(root().iterdir()) if path.is_dir()]
    except OSError:
        return []


def find(file: Path) -> StackFolder | None:
    """The stack of this file, as far as it is up."""
    for folder in everything():
        stack = folder.read()
        if stack is not None and stack.file == str(file):
            return folder
    return None


def provide(file: Path, name: str, default: str) -> StackFolder:
    """The stack of this file, made if there is none: with this name, or where it is "" with one like `default` that is
    free. Raises FloeError."""
    try:
        root().mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise FloeError(f"cannot write {root()}: {e.strerror}", hint="set XDG_STATE_HOME to a folder of yours") from e
    with _locked(root(), "another floe compose is about to start a stack"):
        found = find(file)
        if found is not None:
            if name and found.name != name:
                raise FloeError(
                    f"{file}: name: it is up as {found.name}, not as {name}",
                    hint=f"floe compose down {file}, and up again",
                )
            return found
        for number in range(1, 1000):
            folder = StackFolder(root() / (name or (default if number == 1 else f"{default}-{number}")))
            try:
                folder.path.mkdir(mode=0o700)
            except FileExistsError:
                if (other := folder.read()) is not None:  # else it is what a start left that was killed
                    if name:
                        raise FloeError(
                            f"{file}: name: there is a stack {name} already",
                            evidence=f"of {other.file}",
                            hint='another name = "NAME" in one of them',
                        ) from None
                    continue
            except OSError as e:
                raise FloeError(f"cannot write {root()}: {e.strerror}") from e
            folder.write(Stack(name=folder.name, file=str(file)))
            return folder
    raise FloeError(f"no free name like {default}", hint="ls " + str(root()))


@contextlib.contextmanager
def _locked(path: Path, who: str, wait_s: float = _LOCK_S) -> Iterator[None]:
    """flock(2) on a folder."""
    gone = FloeError(f"{path} is not there any more")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise gone from e
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise FloeError(who, hint="wait for its end, or end it with Ctrl-C") from None
                select.select([], [], [], _LOOK_S)
        if os.fstat(fd).st_nlink == 0:  # who had the lock has removed it
            raise gone
        yield
    finally:
        os.close(fd)
