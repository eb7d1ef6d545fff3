# SPDX-License-Identifier: MIT
"""Waits until a VM is ready: a port of it answers, a line of its console has a text, or it has ended with a code."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from floe.compose.stackfile import Ready
from floe.detached import control
from floe.errors import FloeError, Interrupted, TimedOut
from floe.store import vmfolder
from floe.store.vmfolder import Folder
from floe.stream import inotify

_LOOK_S = 0.25  # how often a VM's end is looked for, and whether the wait is called off
_ASK_S = 0.1  # how often a port is tried that refuses
_TAIL = 10  # lines


class _Text:
    """Whether a text has come on a console, whose log may begin anew meanwhile."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text.encode()
        self._inode = 0
        self._offset = 0
        self._kept = b""  # the end of what was read, in which the text may have begun

    def seen(self) -> bool:
        """Look at what was added."""
        try:
            with self._path.open("rb") as f:
                if (inode := f.fileno() and self._path.stat().st_ino) != self._inode:
                    self._inode, self._offset = inode, 0
                f.seek(self._offset)
                data = f.read()
        except OSError:
            return False
        self._offset += len(data)
        both = self._kept + data
        self._kept = both[-len(self._text) :]
        return self._text in both


def wait(name: str, label: str, ready: Ready, answers: Callable[[], bool], called_off: threading.Event) -> None:
    """Returns once the VM is ready. answers: whether its port does just now. Raises FloeError when it ends instead,
    TimedOut, Interrupted when called off."""
    if not ready.port and not ready.line and ready.exit is None:
        return
    folder = vmfolder.find(name)
    text = _Text(folder.path / "console.log", ready.line)
    deadline = time.monotonic() + ready.within
    watch = inotify.Watch(str(folder.path), inotify.MODIFY | inotify.CREATE | inotify.MOVED_TO)
    try:
        while True:
            ended = has_ended(folder)
            if (ready.line and text.seen()) or (ready.port and not ended and answers()):
                return
            if ended:
                _check_end(folder, label, ready)
                return
            if called_off.is_set():
                raise Interrupted(f"{label} was not waited for")
            if (left := deadline - time.monotonic()) <= 0:
                raise TimedOut(
                    f"{label} is not ready after {ready.within:g} s: {_what(ready)}",
                    evidence=tail(folder),
                    hint=f"floe logs {name}; ready.within gives it longer",
                )
            select.select([watch.fd], [], [], min(left, _ASK_S if ready.port else _LOOK_S))
            watch.happened()
    finally:
        watch.close()


def has_ended(folder: Folder) -> bool:
    """Whether a VM that was started runs no more."""
    return folder.over


def _check_end(folder: Folder, label: str, ready: Ready) -> None:
    end = control.status(folder).end
    if end is not None and ready.exit is not None and end.code == ready.exit:
        return
    how = "" if end is None else f": {end.code}, {end.cause}" if end.code is not None else f": {end.problem}"
    raise FloeError(
        f"{label} has ended before it was ready{how}", evidence=tail(folder), hint=f"floe logs {folder.name}"
    )


def _what(ready: Ready) -> str:
    if ready.port:
        return f"port {ready.port} does not answer"
    return f"no line with {ready.line!r}" if ready.line else f"it has not ended with {ready.exit}"


def tail(folder: Folder) -> str:
    """The last lines of what a VM said."""
    lines: list[str] = []
    for name in ("console.log", "serial.log"):
        try:
            lines += (folder.path / name).read_text(errors="replace").splitlines()[-_TAIL:]
        except OSError:
            continue
    return "\n".join(lines[-_TAIL:])
