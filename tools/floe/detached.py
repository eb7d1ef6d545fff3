# SPDX-License-Identifier: MIT
"""`floe ps`, `logs`, `stop`, `rm`: detached VMs as `floe run --detach` starts them."""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from floe import control, inotify, state
from floe.control import Status
from floe.errors import EXIT_OK, FloeError
from floe.vm import STOP_GRACE_S

_CHUNK = 1 << 16
# What a raw REPL says between two programs and a terminal has no use for; colours, tabs and backspaces stay.
_CONTROLS = bytes(c for c in (*range(0x20), 0x7F) if c not in b"\b\t\n\r\x1b")
_LOG_CHECK_S = 0.5  # how often a VM whose log is followed is looked at


def started(status: Status, *, as_json: bool) -> None:
    """Tell of a VM that was just started: its name on standard output, the rest for people on standard error."""
    if as_json:
        click.echo(json.dumps(status.as_dict()))
        return
    click.echo(status.spec.name)
    if status.endpoints is None:
        click.echo(f"floe: it has ended already: {_ending(status)}; floe logs {status.spec.name}", err=True)
        return
    at = status.endpoints
    lines = [("pty", at.pty), *([("socket", at.url)] if at.url else []), ("unix", at.unix)]
    lines += [("ports", ports)] if (ports := _ports(status)) else []
    for what, where in lines:
        click.echo(f"  {what:6}  {where}", err=True)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have ended.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of all that is known.")
def ps(everything: bool, as_json: bool) -> int:
    """List detached VMs: name, state, process, where the console is, forwarded ports, memory, time since start.

    `mpremote connect PTY` works on what stands under PTY, and on what stands under SOCKET (--console-port)."""
    found, damaged = [], []
    for folder in state.everything():
        try:
            found.append(control.status(folder))
        except FloeError as e:
            damaged.append({"name": folder.name, "state": "damaged", "problem": e.message, "folder": str(folder.path)})
    shown = [status for status in found if everything or status.state == "running"]
    if as_json:
        click.echo(json.dumps([status.as_dict() for status in shown] + (damaged if everything else []), indent=2))
        return EXIT_OK
    rows: list[tuple[str, ...]] = [("NAME", "STATE", "HYPERVISOR", "PID", "PTY", "SOCKET", "PORTS", "MEMORY", "UPTIME")]
    rows += [_row(status) for status in shown]
    rows += [(d["name"], "damaged", *"-------") for d in damaged] if everything else []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for d in damaged:
        click.echo(f"floe: {d['problem']}; floe rm {d['name']}", err=True)
    return EXIT_OK


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until the VM ends.")
@click.option("-n", "--tail", "lines", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
def logs(name: str, follow: bool, lines: int | None) -> int:
    """Print what a VM said on its console; of more than 16 MiB the last 8 at least.

    Standard error gets what came from early boot and from a panic."""
    folder = state.find(name)
    path = folder / "console.log"
    # Watched before it is read, so that nothing falls between.
    watch = inotify.Watch(str(folder.path), inotify.MODIFY | inotify.CREATE | inotify.MOVED_TO) if follow else None
    kept = b"".join(_content(p) for p in (Path(f"{path}.1"), path))
    if lines is not None:
        kept = b"".join(kept.splitlines(keepends=True)[-lines:]) if lines else b""
    _put(kept)
    if watch is not None:
        _follow(folder, path, watch)
    if lines != 0:
        sys.stderr.buffer.write(_content(folder / "serial.log"))
    return EXIT_OK


def _follow(folder: state.Folder, path: Path, watch: inotify.Watch) -> None:
    with path.open("rb") as f:
        f.seek(0, os.SEEK_END)
        log = f
        while True:
            ended = folder.vm is None or folder.read("end", state.End) is not None
            while data := log.read(_CHUNK):
                _put(data)
            try:
                if os.stat(path).st_ino != os.fstat(log.fileno()).st_ino:
                    log = path.open("rb")  # the old one was read to its end
                    continue
            except OSError:
                return  # removed
            if ended:
                return
            select.select([watch.fd], [], [], _LOG_CHECK_S)
            watch.happened()


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--timeout", type=click.FloatRange(min=0), default=STOP_GRACE_S, show_default=True, metavar="S",
              help="How long the script may take over its end.")  # fmt: skip
def stop(names: Sequence[str], timeout: float) -> int:
    """End VMs: Ctrl-C for the script, and after the timeout the end of the VM."""
    folders = [state.find(name) for name in names]
    for folder in folders:
        status = control.stop(folder, timeout)
        click.echo(folder.name)
        click.echo(f"floe: {folder.name} {_ending(status)}", err=True)
    return EXIT_OK


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--force", "-f", is_flag=True, help="End those that run.")
def rm(names: Sequence[str], force: bool) -> int:
    """Forget VMs that have ended: their logs and their names."""
    for folder in [state.find(name) for name in names]:
        control.remove(folder, force=force)
        click.echo(folder.name)
    return EXIT_OK


def _row(status: Status) -> tuple[str, ...]:
    at = status.endpoints
    return (
        status.spec.name,
        status.state if status.state == "running" else _ending(status),
        status.spec.hypervisor,
        str(status.pid or "-"),
        at.pty if at else "-",
        (at.url if at else None) or "-",
        _ports(status) or "-",
        f"{status.spec.memory / (1 << 20):g}M",
        _duration(status.uptime),
    )


def _ending(status: Status) -> str:
    end = status.end
    if end is None:
        return status.state
    return f"{status.state} ({end.code}, {end.cause})" if end.code is not None else f"{status.state} ({end.problem})"


def _ports(status: Status) -> str:
    return " ".join(
        f"{p['address']}:{p['host']}->{p['guest']}" + ("/udp" if p["protocol"] == "udp" else "")
        for p in status.spec.ports
    )


def _duration(seconds: float) -> str:
    s = int(seconds)
    if s < 60:
        return f"{s}s"
    return f"{s // 60}m{s % 60:02}s" if s < 3600 else f"{s // 3600}h{s // 60 % 60:02}m"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _put(data: bytes) -> None:
    if sys.stdout.isatty():
        data = data.translate(None, _CONTROLS)
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
