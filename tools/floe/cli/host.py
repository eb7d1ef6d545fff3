# SPDX-License-Identifier: MIT
"""`floe host`: the table of other hosts, which have names here."""

from __future__ import annotations

import json

import click

from floe.cli.hostdisk import disk
from floe.cli.vms import table as show
from floe.hosts import table


@click.group(short_help="Name other hosts.")
def command() -> None:
    """Name other hosts, for --host NAME and vm.fork(host="NAME"). They are written down in
    $XDG_CONFIG_HOME/floe/hosts.toml."""


command.add_command(disk)


@command.command()
@click.argument("name")
@click.argument("uri", metavar="URI")
def add(name: str, uri: str) -> None:
    """Name a host: ssh://[user@]host[:port][/path-to-floe], or as libvirt has it: qemu+ssh://[user@]host[:port]/system,
    xen+ssh://, qemu:///session. What ssh needs beside that, as keys, stands in its own configuration."""
    table.add(name, uri)
    click.echo(name)


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def rm(names: tuple[str, ...]) -> None:
    """Forget hosts. What runs there goes on."""
    for name in names:
        table.remove(name)
        click.echo(name)


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def ls(as_json: bool) -> None:
    """List hosts."""
    found = table.read()
    if as_json:
        click.echo(json.dumps([{"name": name, "uri": entry.uri} for name, entry in found.items()]))
        return
    show([("NAME", "URI"), *((name, entry.uri) for name, entry in found.items())])


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def gc(names: tuple[str, ...]) -> None:
    """Remove images and files on hosts that no VM there needs any more."""
    from floe.cli.hosted import vms_of

    for name in names:
        with vms_of(name) as vms:
            gone = vms.collect()
        click.echo(name)
        click.echo(f"floe: {name}: {gone / (1 << 20):.1f} MiB removed", err=True)
