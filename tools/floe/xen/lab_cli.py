# SPDX-License-Identifier: MIT
"""`floe lab xen`: a real Xen, with a small dom0, for machines that have none. docs/xen.md says what it is."""

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
from collections.abc import Sequence

import click

from floe.errors import EXIT_NOT_FOUND, EXIT_OK, FloeError, UsageError, VmError
from floe.shown import shown
from floe.units import SizeError, parse_size
from floe.xen import lab, machine

_CHUNK = 1 << 16
_MIN_MEMORY, _MAX_MEMORY = 32 << 20, 16 << 30


def _say(text: str) -> None:
    click.echo(shown(f"floe: {text}"), err=True)


@click.group(short_help="A Xen to try things on, on a machine that has none.")
def command() -> None:
    """Test beds that floe brings along."""


@command.group()
def xen() -> None:
    """Debian's Xen with a small Linux dom0, inside QEMU's emulation. Needs no rights and no hardware."""


@xen.command()
@click.option("--memory", metavar="SIZE", help="RAM for all guests together.  [default: 1G]")
@click.option("--fresh", is_flag=True, help="Build everything again from the packages.")
@click.option("--any-version", is_flag=True, help="Take the mirror's versions of the packages, not the pinned ones.")
def up(memory: str | None, fresh: bool, any_version: bool) -> int:
    """Start the lab: minutes the first time (80 MB of packages), seconds from then on."""
    size = None
    if memory is not None:
        try:
            size = parse_size(memory, minimum=_MIN_MEMORY, multiple=1 << 20)
        except SizeError as e:
            raise UsageError(f"--memory {memory}: {e.problem} (from 32M to 16G)", hint="--memory 512M") from None
        if size > _MAX_MEMORY:
            raise UsageError(f"--memory {memory}: more than there is room for (from 32M to 16G)", hint="--memory 512M")
    started = time.time()
    record = machine.up(_say, size, fresh=fresh, any_version=any_version)
    how = "is up already" if record.created < started else f"is up ({time.time() - started:.1f} s)"
    _say(f"the Xen lab {how}: Xen {_short(record.versions.get('xen', '?'))}, {record.memory >> 20} MiB for guests")
    return EXIT_OK


def _short(version: str) -> str:
    return version.partition("+")[0]


@xen.command()
@click.option("--timeout", type=click.FloatRange(min=0), default=5.0, show_default=True, metavar="S",
              help="How long guests may take over their end.")  # fmt: skip
def down(timeout: float) -> int:
    """End the lab and all guests in it."""
    _say("the Xen lab is down" if machine.down(_say, timeout) else "the Xen lab was not up")
    return EXIT_OK


@xen.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def status(as_json: bool) -> int:
    """Say whether the lab is up, and what runs in it. Exit code 127 when it is down."""
    record = lab.read_record()
    if record is None:
        click.echo(json.dumps({"state": "down"}) if as_json else "down")
        return EXIT_NOT_FOUND
    lab.running()
    guests = _guests()
    if as_json:
        facts = {
            "state": "up",
            "pid": record.process.pid,
            "uptime": round(time.time() - record.created, 1),
            "memory": record.memory,
            "versions": record.versions,
            "network": {"bridge": lab.BRIDGE, "dom0": lab.DOM0, "gateway": lab.GATEWAY, "dns": lab.DNS},
            "guests": guests,
            "folder": str(lab.folder()),
        }
        click.echo(json.dumps(facts, indent=2))
        return EXIT_OK
    click.echo(f"up: QEMU {record.process.pid}, for {time.time() - record.created:.0f} s")
    for name, version in record.versions.items():
        click.echo(f"{name}: {version}")
    click.echo(f"memory for guests: {record.memory >> 20} MiB")
    click.echo(f"guests: {', '.join(guests) or 'none'}")
    click.echo(f"log: {lab.folder() / 'xen.log'}")
    return EXIT_OK


def _guests() -> list[str]:
    """Names of the domains beside dom0."""
    return [line.split()[0] for line in lab.call("xl list", deadline_s=15).splitlines()[2:] if line.strip()]


@xen.command()
@click.argument("guest", required=False)
def log(guest: str | None) -> int:
    """Print the hypervisor's log (with dom0's kernel in it), or what GUEST said on its console."""
    if guest is None:
        try:
            sys.stdout.buffer.write((lab.folder() / "xen.log").read_bytes())
        except OSError:
            lab.running()
        return EXIT_OK
    path = shlex.quote(f"/var/log/xen/console/guest-{guest}.log")
    return _relay(f"[ ! -e {path} ] && echo 'no guest of that name said anything' && exit 127; cat {path}")


@xen.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def run(words: Sequence[str]) -> int:
    """Run a command in dom0, its input and output here, its exit code ours. One word is a line for its shell; without
    any there is a shell to type at."""
    if not words:
        return _relay("exec sh -i")
    return _relay(words[0] if len(words) == 1 else shlex.join(words))


# ---- the connection to a command ----------------------------------------------------------------


def _relay(text: str) -> int:
    """Run a shell text in dom0 with our standard input and output, and return its exit code."""
    name = secrets.token_hex(8)
    pid = f"/run/lab/{name}"
    script = f"echo $$ >{pid}; sh -c {shlex.quote(text)}; s=$?; rm {pid}; printf '\\000{name} %d\\000' $s"
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _ended)
    with contextlib.closing(lab.connect(script)) as sock:
        try:
            code = _copy(sock, f"\0{name} ".encode())
        except (KeyboardInterrupt, BrokenPipeError, SystemExit):
            with contextlib.suppress(FloeError):
                lab.call(f"kill -- -$(cat {pid}); rm {pid}", deadline_s=5)  # a script leads its own process group
            raise
    if code is None:
        raise VmError("the connection to dom0 ended before the command did", evidence=lab.evidence())
    return code


def _ended(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _copy(sock: socket.socket, mark: bytes) -> int | None:
    """Copy both ways until the other side ends; the number behind `mark`, None without one."""
    sock.setblocking(False)
    stdin, stdout = sys.stdin.fileno(), sys.stdout.buffer
    pending, said = b"", b""
    reading = True
    while True:
        sources = [sock, stdin] if reading and not pending else [sock]
        readable, writable, _ = select.select(sources, [sock] if pending else [], [])
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
            stdout.write(said[:keep])
            stdout.flush()
            said = said[keep:]
            if not data:
                number = said[len(mark) :].rstrip(b"\0") if end >= 0 else b""
                return int(number) if number.isdigit() else None


def _possible(said: bytes, mark: bytes) -> int:
    """How many bytes at the end may be the start of the mark."""
    return next((n for n in range(min(len(mark), len(said)), 0, -1) if said.endswith(mark[:n])), 0)
