# SPDX-License-Identifier: MIT
"""`floe profile`: where a running VM's time goes, by lines of Python and by C functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from floe.detached import control
from floe.errors import EXIT_OK, FloeError, UsageError, VmError
from floe.profile import exits, samples
from floe.profile.samples import Samples
from floe.shown import shown
from floe.store.vmfolder import Folder

_PART_S = 1.0  # what is asked for at once: so late Ctrl-C is heard, and so much is lost with a VM that ends


@click.command()
@click.argument("name", metavar="NAME")
@click.option("-s", "--seconds", type=click.FloatRange(min=0.1, max=86400), default=5.0, show_default=True,
              help="For how long; Ctrl-C ends it earlier.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(min=1, max=1000), default=100.0, show_default=True, metavar="HZ",
              help="Samples a second.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.svg",
              help="Write a flame graph there, too.")  # fmt: skip
@click.option("--exits", "with_exits", is_flag=True,
              help="With KVM: how often the processor left the guest, why, and at which lines.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Each stack, and in how many samples it was.")
def command(name: str, seconds: float, rate: float, output: Path | None, *, with_exits: bool, as_json: bool) -> int:
    """Where the time of the detached VM NAME goes. Its image needs nothing for that, a sealed one neither; no code runs
    in it, and it is not stopped.

    SELF: the part of the samples in which Python was at this line; below it, the C functions that were at work for it,
    `idle` where the VM waited.
    TOTAL: in which it was there, or in what is called there."""
    folder = running(name)
    new = output is not None and is_made(output)  # where that fails, it does so before the time is spent
    try:
        found = _sampled(name, folder, seconds, rate, with_exits=with_exits)
    except FloeError:
        if output is not None and new:
            output.unlink(missing_ok=True)
        raise
    stacks = found.stacks
    head = _head(name, found)
    if output is not None:
        from floe.profile import flamegraph

        _write(output, flamegraph.draw(stacks, head))
    if as_json:
        click.echo(json.dumps(_as_dict(name, found)))
        return EXIT_OK
    click.echo(shown(head))
    if with_exits:
        _tell_exits(found)
        return EXIT_OK
    if stacks:
        click.echo("  SELF   TOTAL  WHERE")
    for row in samples.rows(stacks):
        total = "" if row.total is None else f"{100 * row.total:.1f}%"
        click.echo(shown(f"{100 * row.own:5.1f}%  {total:>6}  {'' if row.python else '    '}{row.text}"))
    return EXIT_OK


def running(name: str) -> Folder:
    """The VM that is to be looked into. Raises FloeError."""
    folder, child = control.find(name)
    if child is not None:
        raise UsageError(
            f"{name} is a child; only the first VM of a family is looked into", hint=f"that is {folder.name}"
        )
    if not control.status(folder).alive:
        raise FloeError(f"{name} has ended", hint=f"floe start {name}")
    return folder


def _sampled(name: str, folder: Folder, seconds: float, rate: float, *, with_exits: bool) -> Samples:
    """Until the time is over, the VM has ended, or Ctrl-C. Raises FloeError where nothing was seen."""
    found = Samples()
    try:
        while found.seconds < seconds:
            try:
                told = control.profile(folder, min(_PART_S, seconds - found.seconds), rate, exits=with_exits)
            except FloeError as e:
                if not found.count:
                    raise
                click.echo(shown(f"floe: as far as it came: {e.message}"), err=True)  # it was started anew, for one
                break
            if told is None or not (told.get("stacks") or told.get("lost")):
                click.echo(shown(f"floe: {name} has ended"), err=True)
                break
            _add(found, name, told)
    except KeyboardInterrupt:
        pass
    return found


def _tell_exits(found: Samples) -> None:
    """Of the parts that were counted to their end."""
    if not found.exits:
        click.echo("floe: no exits were counted: it ended before, or its keeper is an older floe's", err=True)
        return
    click.echo(f"{found.exits[exits.ALL]} exits in {found.counted:.1f} s")
    for reason, count in exits.reasons(found.exits):
        click.echo(f"{count:9}  {count / found.counted:8.0f}/s  {reason}: {exits.REASONS.get(reason, '?')}")
    there = exits.at(found.stacks)
    samples = sum(stack.count for stack in there)
    click.echo(f"{samples} of {found.count} samples where exits come from, but for waiting{', by lines' * bool(there)}")
    for row in exits.rows(there):
        click.echo(shown(f"{100 * row.own:8.1f}%  {'' if row.python else '    '}{row.text}"))


def _add(found: Samples, name: str, told: dict[str, Any]) -> None:
    try:
        found.add(told)
    except msgspec.ValidationError as e:
        hint = f"its keeper may be another floe's: floe stop and floe start {name}"
        raise VmError(f"the keeper of {name} tells no samples: {e}", hint=hint) from e


def is_made(output: Path) -> bool:
    """See to it that it can be written; whether it is new."""
    new = not output.exists()
    try:
        output.open("a").close()
    except OSError as e:
        raise FloeError(f"cannot write {output}: {e.strerror}") from e
    return new


def _head(name: str, found: Samples) -> str:
    text = f"{name}: {found.count} samples in {found.seconds:.1f} s"
    if found.count:
        text += f", {100 * found.idle / found.count:.0f} % idle"
    return text + (f"; {found.lost} could not be read" if found.lost else "")


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as e:
        raise FloeError(f"cannot write {output}: {e.strerror}") from e


def _as_dict(name: str, found: Samples) -> dict[str, object]:
    return {
        "name": name,
        "seconds": round(found.seconds, 3),
        "samples": found.count,
        "idle": found.idle,
        "lost": found.lost,
        **({"exits": dict(found.exits)} if found.exits else {}),
        "stacks": [
            {"frames": [frame._asdict() for frame in stack.frames], "c": stack.c, "count": stack.count}
            for stack in found.stacks
        ],
    }
