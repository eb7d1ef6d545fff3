# SPDX-License-Identifier: MIT
"""`floe scale`: more replicas of a VM of a stack that is up, or fewer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from floe.errors import EXIT_OK, NotFound

if TYPE_CHECKING:
    from floe.compose.stackfile import StackFile


@click.command(short_help="Another number of replicas in a stack.")
@click.argument("service", metavar="STACK.VM")
@click.argument("count", metavar="N", type=click.IntRange(min=0))
@click.option("-f", "--file", "file", type=click.Path(path_type=Path), default=Path(), show_default="this folder",
              help="The stack's file, for one whose VMs are on other hosts.")  # fmt: skip
def command(service: str, count: int, file: Path) -> int:
    """Have N replicas of a VM of a stack that is up, as `floe compose ps` names both.

    Those that are no more wanted end when nobody is connected to them, on other hosts within `drain` seconds. It holds
    for `floe compose up`, too, until FILE has another number, or `floe compose down`."""
    from floe.cli.compose import say
    from floe.compose import stack as stacks
    from floe.compose import stackfile
    from floe.compose import up as bringing
    from floe.store import stackfolder
    from floe.store.stackfolder import StackFolder

    name, _, vm = service.partition(".")
    known = {folder.name: folder for folder in stackfolder.everything()}
    if name not in known:
        if (described := _hosted(file, name)) is not None:
            from floe.cli import compose_hosted

            return compose_hosted.scale(described, vm, count)
        evidence = f"there are: {', '.join(known)}" if known else ""
        hint = "floe compose up FILE; of one on other hosts: floe scale -f FILE"
        raise NotFound(f"no stack {name} is up", evidence=evidence, hint=hint)
    folder: StackFolder = known[name]
    stack = stacks.read(folder, name)
    going = bringing.Up(stackfile.load(Path(stack.file), os.environ), folder, say)
    try:
        steps = going.scale(vm, count)
    except KeyboardInterrupt:
        stacks.surely(lambda: say("ending what was started"))
        stacks.surely(going.undo)
        raise
    if all(step.action == "keep" for step in steps):
        say(f"nothing to do: there are {count} of {service}")
    return EXIT_OK


def _hosted(file: Path, name: str) -> StackFile | None:
    """The file of a stack on other hosts, if it is this one's."""
    from floe.compose import stackfile

    if not stackfile.find(file).exists():
        return None
    described = stackfile.load(file, os.environ)
    return described if described.hosts and described.name == name else None
