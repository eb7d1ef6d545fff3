# SPDX-License-Identifier: MIT
"""`floe logs`: what a detached VM said on its console, from the files that its keeper wrote (logfile.py)."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from floe import shown
from floe.cli.hostword import on_host
from floe.detached import control
from floe.errors import EXIT_OK, NotFound
from floe.store import vmfolder
from floe.stream import inotify
from floe.stream.logfile import Stamps
from floe.vm import childlines

_CHUNK = 1 << 16
_CHECK_S = 0.5  # how often a VM whose log is followed is looked at


class _Printer:
    """Puts a console's bytes on standard output: as they are, or shown and with the time at the head of each line.
    `own`: only lines that begin with it, and what is behind it."""

    def __init__(self, *, raw: bool, times: bool, own: bytes | None = None) -> None:
        self._shown = None if raw else shown.Stream()
        self._times = times
        self._at_start = True
        self._own = own
        self._rest = b""  # of a line whose end has not come: whose it is will be seen then

    def put(self, data: bytes, stamps: Stamps, offset: int) -> None:
        """`offset`: where in its file data begins."""
        if self._own is None:
            self._put(data, stamps, offset)
            return
        offset -= len(self._rest)
        for line in (self._rest + data).splitlines(keepends=True):
            whole = line.endswith(b"\n")
            if whole and line.startswith(self._own):
                self._put(line.removeprefix(self._own), stamps, offset)
            self._rest = b"" if whole else line
            offset += len(line)

    def _put(self, data: bytes, stamps: Stamps, offset: int) -> None:
        for line in data.splitlines(keepends=True) if self._times else [data]:
            if self._times and self._at_start:
                when = stamps.at(offset)
                self._write(f"{time_text(when)} ".encode())
            self._at_start = line.endswith(b"\n")
            offset += len(line)
            self._write(line if self._shown is None else self._shown.feed(line).encode())
        sys.stdout.buffer.flush()

    def end(self) -> None:
        """Nothing follows."""
        if self._shown is not None:
            self._write(self._shown.feed(b"", final=True).encode())
        sys.stdout.buffer.flush()

    def _write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until the VM ends.")
@click.option("-n", "--tail", "lines", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("-t", "--timestamps", "times", is_flag=True, help="The time (UTC) in front of each line.")
@click.option("--raw", is_flag=True, help="Every byte as it came, control sequences too.")
@on_host
def command(name: str, follow: bool, lines: int | None, times: bool, raw: bool, host: str | None) -> int:
    """Print what a VM said on its console; of more than 16 MiB the last 8 at least. What floe exec, cp, mount and
    mpremote exchange with it in raw mode stays out. Lines of a VM's children begin with [NAME.1]; floe logs NAME.1
    prints that child's alone.

    Control characters are shown (^[ is escape), so that no terminal obeys them. Standard error gets what came from
    early boot and from a panic."""
    if host:
        from floe.cli import hosted

        return hosted.logs(host, name, follow=follow, lines=lines, times=times, raw=raw)
    folder, child = control.find(name)
    own = None if child is None else childlines.head(child)
    path = folder.console_log
    # Watched before it is read, so that nothing falls between.
    watch = inotify.Watch(str(folder.path), inotify.MODIFY | inotify.CREATE | inotify.MOVED_TO) if follow else None
    ended = _ChildsEnd(folder, child or "")
    printer = _Printer(raw=raw, times=times, own=own)
    older, kept = _content(Path(f"{path}.1")), _content(path)
    skip = 0 if lines is None else _tail(older + kept, lines, own)
    if older[skip:]:
        printer.put(older[skip:], Stamps(Path(f"{path}.1")), skip)
    skip = max(0, skip - len(older))
    printer.put(kept[skip:], Stamps(path), skip)
    if watch is not None:
        _follow(path, watch, printer, len(kept), lambda: folder.over if child is None else ended.now())
    printer.end()
    if lines != 0:
        serial = _content(folder.serial_log)
        if own is not None:
            heard = any(line.startswith(own) for line in (older + kept + serial).splitlines())
            if not heard and not control.child_runs(folder, str(child)):
                raise NotFound(f"{child} has said nothing, and does not run", hint=f"floe logs {folder.name}")
            serial = b"".join(s.removeprefix(own) for s in serial.splitlines(keepends=True) if s.startswith(own))
        sys.stderr.buffer.write(serial if raw else shown.Stream().feed(serial, final=True).encode())
    return EXIT_OK


def _tail(data: bytes, lines: int, own: bytes | None) -> int:
    """Where the last so many lines begin."""
    at = len(data)
    for line in reversed(data.splitlines(keepends=True)):
        if lines == 0:
            break
        at -= len(line)
        lines -= own is None or line.startswith(own)
    return at


class _ChildsEnd:
    """Whether a child has ended, and its last line is in the log."""

    def __init__(self, folder: vmfolder.Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._seen: float | None = None

    def now(self) -> bool:
        if self._seen is None and not control.child_runs(self._folder, self._name):
            self._seen = time.monotonic()
        return self._seen is not None and time.monotonic() > self._seen + 2 * childlines.HELD_S


def _follow(path: Path, watch: inotify.Watch, printer: _Printer, offset: int, is_over: Callable[[], bool]) -> None:
    log, stamps = path.open("rb"), Stamps(path)
    log.seek(offset)
    try:
        while True:
            ended = is_over()
            while data := log.read(_CHUNK):
                printer.put(data, stamps, offset)
                offset += len(data)
            try:
                if os.stat(path).st_ino != os.fstat(log.fileno()).st_ino:
                    log.close()  # the old one was read to its end
                    log, stamps, offset = path.open("rb"), Stamps(path), 0
                    continue
            except OSError:
                return  # removed
            if ended:
                return
            select.select([watch.fd], [], [], _CHECK_S)
            watch.happened()
    finally:
        log.close()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def time_text(when: float | None) -> str:
    """In front of a line."""
    if when is None:
        return "-" * 24  # written before there were times, or on a full disk
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
