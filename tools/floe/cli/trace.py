# SPDX-License-Identifier: MIT
"""`floe trace`: what a running VM did when: packets, wakes, collections of garbage, lines of Python."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
import msgspec

from floe.cli.profile import is_made, running
from floe.detached import control
from floe.errors import EXIT_OK, FloeError, VmError
from floe.profile import chrome, summary
from floe.profile.timeline import Begin, Look, Timeline, put_together
from floe.shown import shown
from floe.store.vmfolder import Folder


@click.command()
@click.argument("name", metavar="NAME")
@click.option("-s", "--seconds", type=click.FloatRange(min=0.1, max=3600), default=5.0, show_default=True,
              help="For how long; Ctrl-C ends it earlier.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(min=10, max=1000), default=100.0, show_default=True, metavar="HZ",
              help="Looks a second.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.json",
              help="Write the time line there, for https://ui.perfetto.dev.")  # fmt: skip
def command(name: str, seconds: float, rate: float, output: Path | None) -> int:
    """What the detached VM NAME does, on a time line: packets, when its processor waits and is woken, collections of
    garbage, lines of Python. Its image needs nothing for that, a sealed one neither, and it is not stopped."""
    folder = running(name)
    new = output is not None and is_made(output)  # where that fails, it does so before the time is spent
    try:
        line = _traced(name, folder, seconds, rate)
    except (FloeError, KeyboardInterrupt):
        if output is not None and new:
            output.unlink(missing_ok=True)
        raise
    if output is not None:
        try:
            with output.open("w", encoding="utf-8") as file:
                chrome.write(file, name, line)
        except OSError as e:
            raise FloeError(f"cannot write {output}: {e.strerror}") from e
    for text in summary.lines(name, line):
        click.echo(shown(text))
    return EXIT_OK


def _traced(name: str, folder: Folder, seconds: float, rate: float) -> Timeline:
    """Until the time is over, the VM has ended, or Ctrl-C. Raises FloeError."""
    try:
        return _put_together(name, folder, seconds, rate)
    except (msgspec.ValidationError, ValueError, ArithmeticError) as e:
        hint = f"its keeper may be another floe's: floe stop and floe start {name}"
        raise VmError(f"the keeper of {name} tells no trace: {e}", hint=hint) from e


def _put_together(name: str, folder: Folder, seconds: float, rate: float) -> Timeline:
    begin: Begin | None = None
    looks: list[Look] = []
    over: str | None = None
    try:
        with closing(control.trace(folder, seconds, rate)) as told:
            for part in told:
                if "at" in part:
                    begin = msgspec.convert(part, Begin, strict=False)  # numbers of cards are names in JSON
                looks += msgspec.convert(part.get("looks", []), list[Look])
                over = msgspec.convert(part.get("over", over), str | None)
    except KeyboardInterrupt:
        if begin is None:
            raise
        over = ""
    if begin is None:
        raise FloeError(f"nothing of {name} was seen: it, or its keeper, has ended", hint="floe ps --all")
    if over != "":
        click.echo(shown(f"floe: {name}: {over or 'it, or its keeper, has ended'}"), err=True)
    return put_together(begin, looks)
