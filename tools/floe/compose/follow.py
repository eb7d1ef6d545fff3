# SPDX-License-Identifier: MIT
"""What the VMs of a stack say, line by line and in the order of time, from the files that their keepers write."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from floe.compose import ready
from floe.compose import stack as stacks
from floe.detached import control
from floe.errors import FloeError
from floe.shown import shown
from floe.store import vmfolder
from floe.store.stackfolder import StackFolder
from floe.store.vmfolder import Folder
from floe.stream import inotify
from floe.stream.logfile import Stamps

_LOOK_S = 0.5  # how often VMs that come and end are looked for
_LONGEST = 1 << 16  # bytes of one line
_PARTS = ("console.log", "serial.log")
_CHANGES = inotify.MODIFY | inotify.CREATE | inotify.MOVED_TO


@dataclass(frozen=True)
class Line:
    """A line of a VM's. label: the VM without its stack. at: time.time(), None where it is not known."""

    label: str
    at: float | None
    text: str  # control characters are shown


class _File:
    """One log, with the one before it; a log that begins anew is followed."""

    def __init__(self, path: Path, label: str) -> None:
        self._path = path
        self._label = label
        self._partial = b""
        self._at: float | None = None
        self._file: BufferedReader | None = None
        self._stamps = Stamps(path)
        self._older = path.with_name(f"{path.name}.1")

    def lines(self, *, final: bool = False) -> list[Line]:
        """What was added; with what is no whole line yet where nothing follows."""
        found: list[Line] = []
        if self._file is None and self._older.exists():
            self._stamps = Stamps(self._older)
            with contextlib.suppress(OSError):
                found += self._take(self._older.read_bytes(), 0)
        while self._file is not None or self._open():
            assert self._file is not None
            offset = self._file.tell()
            found += self._take(self._file.read(), offset)
            if self._is_current():
                break
            self.close()
        return found + (self._rest() if final or self._file is None else [])

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except OSError:
            return False
        self._stamps = Stamps(self._path)
        return True

    def _is_current(self) -> bool:
        assert self._file is not None
        try:
            return os.stat(self._path).st_ino == os.fstat(self._file.fileno()).st_ino
        except OSError:
            return False

    def _take(self, data: bytes, offset: int) -> list[Line]:
        found = []
        for part in data.splitlines(keepends=True):
            if not self._partial:
                self._at = self._stamps.at(offset)
            self._partial += part
            offset += len(part)
            if part.endswith(b"\n") or len(self._partial) > _LONGEST:
                found += self._rest()
        return found

    def _rest(self) -> list[Line]:
        if not self._partial:
            return []
        text, self._partial = self._partial.rstrip(b"\r\n"), b""
        return [Line(self._label, self._at, shown(text.decode("utf-8", "backslashreplace")))]


class Follow:
    """The logs of some VMs of a stack, of those too that are started meanwhile. labels: VMs or single replicas, empty
    for all."""

    def __init__(self, folder: StackFolder, labels: Collection[str], put: Callable[[Line], None]) -> None:
        self.on_end: Callable[[str, str], None] = lambda label, how: None  # a VM has ended
        self._folder = folder
        self._labels = labels
        self._put = put
        self._files: dict[str, list[_File]] = {}
        self._watches: dict[str, inotify.Watch] = {}
        self._ended: set[str] = set()

    def put_all(self, last: int | None = None) -> None:
        """What there is now; only the last lines of each VM where `last` says how many."""
        lines: list[Line] = []
        for name in self._names():
            own = [line for file in self._of(name) for line in file.lines(final=last is not None)]
            own.sort(key=_time)
            lines += own if last is None else own[len(own) - min(last, len(own)) :]
        for line in sorted(lines, key=_time):
            self._put(line)

    def run(self, busy: Callable[[], bool] = lambda: False) -> None:
        """Put lines as they come, until all these VMs have ended or are removed and nothing is busy starting them."""
        try:
            while True:
                working = busy()  # looked at before what it leads to
                names = self._names()
                alive = [name for name in names if not self._has_ended(name)]
                self._pass(names)
                if not alive and not working:
                    return
                select.select([watch.fd for watch in self._watches.values()], [], [], _LOOK_S)
                for watch in self._watches.values():
                    watch.happened()
        finally:
            self._pass([], final=True)
            for watch in self._watches.values():
                watch.close()

    def _names(self) -> list[str]:
        stack = self._folder.read()
        if stack is None:
            return []
        return [
            name
            for name, placed in stack.vms.items()
            if not self._labels or placed.vm in self._labels or stacks.label(stack.name, name) in self._labels
        ]

    def _of(self, name: str) -> list[_File]:
        path = vmfolder.root() / name
        label = stacks.label(self._folder.name, name)
        return self._files.setdefault(name, [_File(path / part, label) for part in _PARTS])

    def _pass(self, names: list[str], *, final: bool = False) -> None:
        for name in names:
            self._of(name)
            if name not in self._watches:
                with contextlib.suppress(OSError):
                    self._watches[name] = inotify.Watch(str(vmfolder.root() / name), _CHANGES)
        lines = [line for files in self._files.values() for file in files for line in file.lines(final=final)]
        for line in sorted(lines, key=_time):
            self._put(line)

    def _has_ended(self, name: str) -> bool:
        folder = Folder(vmfolder.root() / name)
        if folder.parent is None:
            return True  # it is gone, or somebody is busy starting it
        if not ready.has_ended(folder):
            self._ended.discard(name)
            return False
        if name not in self._ended:
            self._ended.add(name)
            if name in self._watches:
                self._watches.pop(name).close()
            with contextlib.suppress(FloeError):
                self.on_end(stacks.label(self._folder.name, name), stacks.how_ended(control.status(folder)))
        return True


def _time(line: Line) -> float:
    return line.at or 0.0
