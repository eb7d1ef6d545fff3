# SPDX-License-Identifier: MIT
"""What the verbs of all labs share: start one and say so, and a command in it with our own input and output."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

import click

from floe.errors import EXIT_NOT_FOUND, EXIT_OK, FloeError, UsageError, VmError
from floe.lab import boot
from floe.lab.boot import Design
from floe.lab.connection import Lab, Record
from floe.shown import Stream, shown
from floe.units import SizeError, parse_size

Put = Callable[[bytes, bool], None]  # takes output; True: it is the last

_CHUNK = 1 << 16
_MIN_MEMORY, _MAX_MEMORY = 32 << 20, 16 << 30


def say(text: str) -> None:
    """Tell the person who waits."""
    click.echo(shown(f"floe: {text}"), err=True)


def start(design: Design, memory: str | None, label: str, *, fresh: bool, any_version: bool) -> int:
    """The verb up. label: of the package whose version is told. Raises UsageError, and as machine.up()."""
    size = None
    if memory is not None:
        try:
            size = parse_size(memory, minimum=_MIN_MEMORY, multiple=1 << 20)
        except SizeError as e:
            raise UsageError(f"--memory {memory}: {e.problem} (from 32M to 16G)", hint="--memory 512M") from None
        if size > _MAX_MEMORY:
            raise UsageError(f"--memory {memory}: more than there is room for (from 32M to 16G)", hint="--memory 512M")
    started = time.time()
    record = boot.up(design, say, size, fresh=fresh, any_version=any_version)
    how = "is up already" if record.created < started else f"is up ({time.time() - started:.1f} s)"
    version = record.versions.get(label.lower(), "?").partition("+")[0]
    say(f"{design.lab.title} {how}: {label} {version}, {record.memory >> 20} MiB for guests")
    return EXIT_OK


def end(design: Design, timeout: float) -> int:
    """The verb down."""
    say(f"{design.lab.title} {'is down' if boot.down(design, say, timeout) else 'was not up'}")
    return EXIT_OK


def status(lab: Lab, more: dict[str, object], guests: Callable[[], list[str]], as_json: bool) -> int:
    """The verb status. more: facts that this lab alone has, for --json."""
    record = lab.read_record()
    if record is None:
        click.echo(json.dumps({"state": "down"}) if as_json else "down")
        return EXIT_NOT_FOUND
    lab.running()
    names = guests()
    if as_json:
        click.echo(json.dumps({**_facts(record), **more, "guests": names, "folder": str(lab.folder())}, indent=2))
        return EXIT_OK
    click.echo(f"up: QEMU {record.process.pid}, for {time.time() - record.created:.0f} s")
    for name, version in record.versions.items():
        click.echo(f"{name}: {version}")
    click.echo(f"memory for guests: {record.memory >> 20} MiB")
    click.echo(f"guests: {', '.join(names) or 'none'}")
    click.echo(f"log: {lab.folder() / lab.log}")
    return EXIT_OK


def _facts(record: Record) -> dict[str, object]:
    return {
        "state": "up",
        "pid": record.process.pid,
        "uptime": round(time.time() - record.created, 1),
        "memory": record.memory,
        "versions": record.versions,
    }


def log(lab: Lab, *, raw: bool) -> int:
    """The verb log, without a guest's name. raw: what terminals obey is not made visible."""
    try:
        said = (lab.folder() / lab.log).read_bytes()
    except OSError:
        lab.running()
        return EXIT_OK
    output(raw=raw)(said, True)
    return EXIT_OK


def line(words: Sequence[str]) -> str:
    """What the words of the verb run ask for: a command, a line for the shell, or without any word a shell."""
    if not words:
        return "exec sh -i"
    return words[0] if len(words) == 1 else shlex.join(words)


def output(*, raw: bool) -> Put:
    """Our standard output."""

    def put(data: bytes, final: bool) -> None:
        sys.stdout.buffer.write(data if stream is None else stream.feed(data, final=final).encode())
        sys.stdout.buffer.flush()

    stream = None if raw else Stream()
    return put


def relay(lab: Lab, text: str, put: Put | None = None, *, timeout_s: float | None = None) -> int:
    """Run a shell text in a lab with our standard input and output, and return its exit code. put: takes the output.

    Raises TimeoutError after timeout_s; the text and all that it started are ended then."""
    ends = None if timeout_s is None else time.monotonic() + timeout_s
    name = secrets.token_hex(8)
    pid = f"/run/lab/{name}"
    script = f"echo $$ >{pid}; sh -c {shlex.quote(text)}; s=$?; rm {pid}; printf '\\000{name} %d\\000' $s"
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _ended)
    with contextlib.closing(lab.connect(script)) as sock:
        try:
            code = _copy(sock, f"\0{name} ".encode(), put or output(raw=True), ends)
        except (KeyboardInterrupt, BrokenPipeError, SystemExit, TimeoutError):
            with contextlib.suppress(FloeError):
                lab.call(f"kill -- -$(cat {pid}); rm {pid}", deadline_s=5)  # a script leads its own process group
            raise
    if code is None:
        raise VmError(f"the connection to {lab.linux} ended before the command did", evidence=lab.evidence())
    return code


def _ended(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _copy(sock: socket.socket, mark: bytes, put: Put, ends: float | None) -> int | None:
    """Copy both ways until the other side ends; the number behind `mark`, None without one. Raises TimeoutError."""
    sock.setblocking(False)
    stdin = sys.stdin.fileno()
    pending, said = b"", b""
    reading = True
    while True:
        sources = [sock, stdin] if reading and not pending else [sock]
        patience_s = None if ends is None else max(0.0, ends - time.monotonic())
        readable, writable, _ = select.select(sources, [sock] if pending else [], [], patience_s)
        if not readable and not writable:
            raise TimeoutError
        if stdin in readable:
            pending = os.read(stdin, _CHUNK)
            if not pending:
                reading = False
                sock.shutdown(socket.SHUT_WR)
        if writable:
            try:
                pending = pending[sock.send(pending) :]
            except ConnectionError:
                pending, reading = b"", False
        if sock in readable:
            try:
                data = sock.recv(_CHUNK)
            except ConnectionError:
                data = b""
            said += data
            end = said.find(mark)
            keep = end if end >= 0 else len(said) - _possible(said, mark)
            if not data and end < 0:
                keep = len(said)
            put(said[:keep], not data)
            said = said[keep:]
            if not data:
                number = said[len(mark) :].rstrip(b"\0") if end >= 0 else b""
                return int(number) if number.isdigit() else None


def _possible(said: bytes, mark: bytes) -> int:
    """How many bytes at the end may be the start of the mark."""
    return next((n for n in range(min(len(mark), len(said)), 0, -1) if said.endswith(mark[:n])), 0)
