# SPDX-License-Identifier: MIT
"""`floe swap NAME MODULE FILE`: another version of a module for a program that runs in a detached VM, and goes on."""

from __future__ import annotations

from pathlib import Path

import click

from floe.build import bytecode, port_archive
from floe.device import swap
from floe.errors import NotFound


@click.command()
@click.argument("name")
@click.argument("module")
@click.argument("file", type=click.Path(path_type=Path))
def command(name: str, module: str, file: Path) -> int:
    """Replace MODULE, which the program in a detached VM has imported, by FILE, while it runs (dev images).

    Functions and classes that others have taken from the module follow; what runs ends as it began. The module's state
    starts anew: what FILE assigns at its top level. Names that FILE does not have keep their values, and so do those
    that it lists: __floe_keep__ = ("visits", "cache"). When FILE does not compile, or fails at its first run, nothing
    changes.

    MODULE __main__ is the main script: it is asked for its end, as floe stop asks (an asyncio loop's main task is
    cancelled, else it gets Ctrl-C), and FILE runs in its place. Modules and names that FILE does not assign keep their
    values; tasks and connections of the loop end."""
    if not file.is_file():
        raise NotFound(f"no such file: {file}")
    target = module.replace(".", "/") + ".py"
    code = bytecode.compile_file(port_archive.load("dev").mpy_cross, file, target).read_bytes()
    if module == swap.MAIN:
        swap.replace_main(name, code)
        click.echo(f"the main script of {name} has ended, and {file} runs in its place", err=True)
        return 0
    pause_us = swap.replace(name, module, code)
    click.echo(f"{module} replaced in {name}; the program paused for {pause_us / 1000:.1f} ms", err=True)
    click.echo(f"  what {file} assigns at its top level has started anew; other names are kept", err=True)
    return 0
