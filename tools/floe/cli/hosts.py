# SPDX-License-Identifier: MIT
"""`floe hosts`: whether other hosts answer, and what they have."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from floe.cli.vms import table as show
from floe.errors import EXIT_OK, EXIT_REFUSED, FloeError, NotFound
from floe.fleet import survey
from floe.fleet.survey import Facts
from floe.hosts import table


@click.command(short_help="Whether other hosts answer, and what they have.")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def command(names: tuple[str, ...], as_json: bool) -> int:
    """Ask all hosts of `floe host ls`, or those named, at once: versions, processors, memory, accelerators, clocks.

    Exit code 0 if all of them answer, 126 if not."""
    known = table.read()
    for name in names:
        if name not in known:
            raise NotFound(f"there is no host {name}", hint="floe host ls")
    found = survey.look(list(dict.fromkeys(names)) or list(known)) if known else {}
    down = {name: facts for name, facts in found.items() if isinstance(facts, FloeError)}
    if as_json:
        click.echo(json.dumps([_told(name, known[name].uri, facts) for name, facts in found.items()], indent=2))
        return EXIT_REFUSED if down else EXIT_OK
    rows = [("NAME", "STATE", "LIBVIRT", "HYPERVISOR", "CPUS", "MEMORY", "FREE", "ACCELERATORS")]
    show(rows + [_row(name, facts) for name, facts in found.items()])
    for error in down.values():
        click.echo(error.render(), err=True)
    for difference in survey.differences(found):
        click.echo(f"floe: {difference}", err=True)
    return EXIT_REFUSED if down else EXIT_OK


def _row(name: str, facts: Facts | FloeError) -> tuple[str, ...]:
    if isinstance(facts, FloeError):
        return (name, "down", *"------")
    return (
        name, "up", facts.libvirt, f"{facts.hypervisor} {facts.version}", str(facts.cpus),
        _gib(facts.memory), _gib(facts.free), " ".join(facts.accelerators) or "-",
    )  # fmt: skip


def _told(name: str, uri: str, facts: Facts | FloeError) -> dict[str, object]:
    if isinstance(facts, FloeError):
        return {"name": name, "uri": uri, "up": False, "problem": facts.message, "hint": facts.hint}
    return {"name": name, "uri": uri, "up": True, **asdict(facts)}


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f}G"
