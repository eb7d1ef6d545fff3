# SPDX-License-Identifier: MIT
"""`floe move`: a running VM from one host to another."""

from __future__ import annotations

import json

import click

from floe.cli.hostword import on_host
from floe.errors import EXIT_OK, UsageError
from floe.fleet import connection, driver, move
from floe.spec import handover
from floe.vm.plan import variable


@click.command(short_help="Move a running VM to another host.")
@click.argument("name")
@click.argument("target", metavar="TARGET")
@on_host
@click.option("--address", metavar="ADDR",
              help="Of TARGET, straight by TCP, which nothing encrypts.  [default: by ssh, through here]")  # fmt: skip
@click.option("--secret", "secrets", multiple=True, metavar="NAME=FILE", help="As at its start.")
@click.option("--env-file", "env_files", multiple=True, metavar="FILE", help="As at its start.")
@click.option("-e", "--env", "env", multiple=True, metavar="K[=V]", help="As at its start.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    name: str, target: str, host: str | None, address: str | None, *, as_json: bool, **given: tuple[str, ...]
) -> int:
    """Move the VM NAME of --host HOST to TARGET while it runs, and tell how long it stood still. Its memory goes
    through this machine by ssh, or straight to --address. The secrets and variables that it was handed at its start are
    given again: HOST does not keep them."""
    if not host:
        raise UsageError("a VM of this machine does not move while it runs", hint="floe move --host HOST NAME TARGET")
    if host == target:
        raise UsageError(f"{name} is on {host} already")
    for each in (host, target):
        driver.check_host(each, moving=name)
    blobs = handover.read(
        handover.parse_secrets(given["secrets"], ()),
        handover.parse_env_files(given["env_files"]),
        dict(map(variable, given["env"])),
    )
    with connection.open(host) as source, connection.open(target) as there:
        for end in (source, there):
            if not (address or end.place.ssh):
                hint = f"--address ADDR: of {target}, straight by TCP, which nothing encrypts"
                raise UsageError(f"{end.name} is this machine, to which no ssh goes", hint=hint)
        moved = move.move(name, source, there, address or "", blobs)
    if as_json:
        click.echo(json.dumps({**moved.vm.as_dict(), "pause": round(moved.pause_s, 4)}))
    else:
        click.echo(name)
        click.echo(f"floe: {name} is on {target}; it stood still for {moved.pause_s * 1000:.0f} ms", err=True)
    return EXIT_OK
