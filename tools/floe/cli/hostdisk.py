# SPDX-License-Identifier: MIT
"""`floe host disk`: the disks that lie on other hosts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from floe.cli.vms import table as show
from floe.errors import DiskFull, FloeError, NotFound, UsageError
from floe.spec import disks
from floe.units import show_size
from floe.userfile import forget

_PART = ".floe-part"  # ends the name of a file that is not whole


@click.group(short_help="Disks on other hosts.")
def disk() -> None:
    """Disks on other hosts, as --disk of floe run --host has them: by a name. They stay until they are removed here."""


@disk.command()
@click.argument("host")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def ls(host: str, as_json: bool) -> None:
    """List the disks of HOST: size, what they take there, which VMs have them."""
    from floe.cli.hosted import vms_of

    with vms_of(host) as vms:
        found = vms.disks.all()
    if as_json:
        told = [
            {"name": one.name, "size": one.size, "used": one.used, "whole": one.whole}
            | {"vms": [{"name": u.name, "running": u.alive, "readonly": u.readonly} for u in one.users]}
            for one in found
        ]
        click.echo(json.dumps(told, indent=2))
        return
    rows = [("NAME", "SIZE", "USED", "VMS")]
    for one in found:
        names = " ".join(f"{u.name}{':ro' if u.readonly else ''}" for u in one.users)
        rows.append(
            (
                one.name,
                show_size(one.size),
                show_size(-(-one.used >> 10) << 10),
                names or ("-" if one.whole else "not whole"),
            )
        )
    show(rows)


@disk.command()
@click.argument("host")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("name", required=False)
def push(host: str, file: Path, name: str | None) -> None:
    """Bring a disk of this machine to HOST, as a new one that is called as FILE is, or NAME."""
    from floe.cli.hosted import vms_of

    own = _name(name or file.name)
    with disks.claimed(file.absolute(), readonly=True) as fd, vms_of(host) as vms:
        sent = vms.disks.push(own, fd)
        size = show_size(os.lseek(fd, 0, os.SEEK_END))
    click.echo(own)
    click.echo(f"floe: {own} of {size} is on {host}; {sent / (1 << 20):.1f} MiB were sent", err=True)


@disk.command()
@click.argument("host")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def pull(host: str, name: str, file: Path | None) -> None:
    """Bring a disk of HOST here, into a new FILE, or one that is called as the disk is. It stays on HOST, too."""
    from floe.cli.hosted import vms_of

    place = (file or Path(_name(name))).absolute()
    if os.path.lexists(place):
        raise FloeError(f"{file or name} is there already", hint=f"floe host disk pull {host} {name} ANOTHER_FILE")
    if not place.parent.is_dir():
        raise NotFound(f"no such folder: {place.parent}")
    part = place.with_name(place.name + _PART)
    with vms_of(host) as vms:
        try:
            with part.open("wb") as target:
                came = vms.disks.pull(_name(name), target.fileno())
            part.replace(place)
        except OSError as e:
            forget(part)
            raise DiskFull.of(e, place.parent) or FloeError(f"cannot write {place}: {e.strerror}") from None
        except BaseException:
            forget(part)
            raise
    click.echo(f"{file or name}")
    click.echo(f"floe: {came / (1 << 20):.1f} MiB came from {host}", err=True)


@disk.command()
@click.argument("host")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def rm(host: str, names: tuple[str, ...]) -> None:
    """Remove disks of HOST that no VM has, with all that is on them."""
    from floe.cli.hosted import vms_of

    wanted = [_name(name) for name in names]
    with vms_of(host) as vms:
        for name in wanted:
            vms.disks.remove(name)
            click.echo(name)


def _name(text: str) -> str:
    if not disks.is_name(text):
        raise UsageError(f"{text}: no name of a disk on another host", hint=disks.NAMES)
    return text
