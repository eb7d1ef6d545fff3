# SPDX-License-Identifier: MIT
"""`floe scale`: more replicas of a VM of a stack that is up, or fewer."""

from __future__ import annotations

import os
from pathlib import Path

import click

from floe.errors import EXIT_OK, NotFound


@click.command(short_help="Another number of replicas in a stack.")
@click.argument("service", metavar="STACK.VM")
@click.argument("count", metavar="N", type=click.IntRange(min=0))
def command(service: str, count: int) -> int:
    """Have N replicas of a VM of a stack that is up, as `floe compose ps` names both.

    Those that are no more wanted end when nobody is connected to them. It holds for `floe compose up`, too, until FILE
    has another number, or `floe compose down`."""
    from floe.cli.compose import say
    from floe.compose import stack as stacks
    from floe.compose import stackfile
    from floe.compose import up as bringing
    from floe.store import stackfolder
    from floe.store.stackfolder import StackFolder

    name, _, vm = service.partition(".")
    known = {folder.name: folder for folder in stackfolder.everything()}
    if name not in known:
        evidence = f"there are: {', '.join(known)}" if known else ""
        raise NotFound(f"no stack {name} is up", evidence=evidence, hint="floe compose up FILE")
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
