# SPDX-License-Identifier: MIT
"""`floe ps`, `start`, `stop`, `rm`: detached VMs as `floe run --detach` starts them. What is for this machine alone is
loaded late: it takes longer than to ask a host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from floe.cli.hostword import on_host, on_hosts
from floe.errors import EXIT_OK, FloeError, NotFound
from floe.shown import shown
from floe.store import vmfolder
from floe.vm.vm import STOP_GRACE_S

if TYPE_CHECKING:
    from floe.detached.control import Status


def started(status: Status, *, as_json: bool) -> None:
    """Tell of a VM that was just started: its name on standard output, the rest for people on standard error."""
    if as_json:
        click.echo(json.dumps(status.as_dict()))
        return
    click.echo(status.spec.name)
    if status.endpoints is None:
        ended = f"it has ended already: {_ending(status)}"
        click.echo(shown(f"floe: {ended}; floe logs {status.spec.name}"), err=True)
        return
    at = status.endpoints
    lines = [("pty", at.pty), *([("socket", at.url)] if at.url else []), ("unix", at.unix)]
    lines += [("ports", ports)] if (ports := _ports(status)) else []
    for what, where in lines:
        click.echo(f"  {what:6}  {where}", err=True)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have ended.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of all that is known.")
@on_hosts
def ps(everything: bool, as_json: bool, hosts: Sequence[str]) -> int:
    """List detached VMs: name, state, process, where the console is, forwarded ports, memory, time since start.
    Children of a VM that forks stand below it.

    `mpremote connect PTY` works on what stands under PTY, and on what stands under SOCKET (--console-port)."""
    if hosts:
        from floe.cli import hosted

        return hosted.ps(hosts, everything=everything, as_json=as_json)
    from floe.detached import control

    found, damaged = [], []
    for folder in vmfolder.everything():
        try:
            found.append(control.status(folder))
        except NotFound:  # just being made, or removed meanwhile
            continue
        except FloeError as e:
            damaged.append({"name": folder.name, "state": "damaged", "problem": e.message, "folder": str(folder.path)})
    wanted = [entry for status in found if everything or status.alive for entry in control.tree(status)]
    if as_json:
        click.echo(json.dumps([status.as_dict() for _, status in wanted] + (damaged if everything else []), indent=2))
        return EXIT_OK
    rows: list[tuple[str, ...]] = [
        ("NAME", "STATE", "HYPERVISOR", "PID", "PTY", "SOCKET", "PORTS", "MEMORY", "RESTARTS", "UPTIME")
    ]
    rows += [("  " * depth + name, *others) for depth, (name, *others) in ((d, _row(s)) for d, s in wanted)]
    rows += [(d["name"], "damaged", *"--------") for d in damaged] if everything else []
    table(rows)
    for d in damaged:
        click.echo(shown(f"floe: {d['problem']}; floe rm {d['name']}"), err=True)
    return EXIT_OK


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per VM, as floe run --detach --json.")
@on_host
def start(names: Sequence[str], as_json: bool, host: str | None) -> int:
    """Start VMs that have ended: image, name, ports, disks, addresses, variables and restart policy are as they were.

    Secrets and env files are read anew, from the files that were named; the log goes on."""
    if host:
        from floe.cli import hosted

        return hosted.start(host, names, as_json=as_json)
    from floe.detached import again, control

    for name in names:
        started(control.status(again.start(name)), as_json=as_json)
    return EXIT_OK


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--timeout", type=click.FloatRange(min=0), default=STOP_GRACE_S, show_default=True, metavar="S",
              help="How long the script may take over its end.")  # fmt: skip
@on_host
def stop(names: Sequence[str], timeout: float, host: str | None) -> int:
    """End VMs: Ctrl-C for the script, and after the timeout the end of the VM. Of a VM that forks all of the family is
    asked, children first; NAME.1 ends that child alone."""
    if host:
        from floe.cli import hosted

        return hosted.stop(host, names, timeout)
    from floe.detached import control

    for folder, child in [control.find(name) for name in names]:
        if child is not None:
            ended = control.stop_child(folder, child, timeout)
            click.echo(child)
            how = f"by signal {ended & 0x7F}" if ended & 0x7F else f"with {ended >> 8}"
            click.echo(shown(f"floe: {child} ended {how}"), err=True)
            continue
        status = control.stop(folder, timeout)
        click.echo(folder.name)
        click.echo(shown(f"floe: {folder.name} {_ending(status)}"), err=True)
    return EXIT_OK


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--force", "-f", is_flag=True, help="End those that run.")
@on_host
def rm(names: Sequence[str], force: bool, host: str | None) -> int:
    """Forget VMs that have ended: their logs and their names. What children said goes with their VM; of NAME.1 only
    --force has something to do."""
    if host:
        from floe.cli import hosted

        return hosted.rm(host, names, force=force)
    from floe.detached import control

    for folder, child in [control.find(name) for name in names]:
        if child is None:
            control.remove(folder, force=force)
        else:
            control.remove_child(folder, child, force=force)
        click.echo(child or folder.name)
    return EXIT_OK


def _row(status: Status) -> tuple[str, ...]:
    at = status.endpoints
    ports, memory, uptime = sizes(status)
    return (
        status.spec.name,
        _ending(status),
        status.spec.hypervisor + (f"@{status.host}" if status.host else ""),
        str(status.pid or "-"),
        at.pty if at else "-",
        (at.url if at else None) or "-",
        ports,
        memory,
        str(status.restarts),
        uptime,
    )


def sizes(status: Status) -> tuple[str, str, str]:
    """Ports, memory and time since start, for a row."""
    return _ports(status) or "-", f"{status.spec.memory / (1 << 20):g}M", duration(status.uptime)


def table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under one another."""
    rows = [tuple(map(shown, row)) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _ending(status: Status) -> str:
    end = status.end
    if end is None:
        return status.state
    return f"{status.state} ({end.code}, {end.cause})" if end.code is not None else f"{status.state} ({end.problem})"


def _ports(status: Status) -> str:
    return " ".join(f"{f.place()}->{f.guest_place()}" for f in status.spec.forwards)


def duration(seconds: float) -> str:
    """For people."""
    s = int(seconds)
    if s < 60:
        return f"{s}s"
    return f"{s // 60}m{s % 60:02}s" if s < 3600 else f"{s // 3600}h{s // 60 % 60:02}m"
