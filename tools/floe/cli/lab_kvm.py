# SPDX-License-Identifier: MIT
"""`floe lab kvm`: ordinary KVM for machines that have none, or only another kind. docs/kvm-lab.md says what it is."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from floe.cli import lab_command
from floe.errors import EXIT_TIMED_OUT, UsageError, VmError
from floe.kvmlab import lab, machine, nested
from floe.qemu import commandline
from floe.spec.runoptions import RunOptions
from floe.vm.outcome import RESETS, judge
from floe.vm.plan import is_elf, plan


@click.group()
def kvm() -> None:
    """Ordinary KVM (AMD's SVM with nested paging) in a small Linux, inside QEMU's emulation."""


@kvm.command()
@click.option("--memory", metavar="SIZE", help="RAM for all guests together.  [default: 512M]")
@click.option("--fresh", is_flag=True, help="Build everything again from the packages.")
@click.option("--any-version", is_flag=True, help="Take the mirror's versions of the packages, not the pinned ones.")
def up(memory: str | None, fresh: bool, any_version: bool) -> int:
    """Start the lab: minutes the first time (110 MB of packages), seconds from then on."""
    return lab_command.start(machine.DESIGN, memory, "Linux", fresh=fresh, any_version=any_version)


@kvm.command()
def down() -> int:
    """End the lab and all guests in it."""
    return lab_command.end(machine.DESIGN, 1)


@kvm.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def status(as_json: bool) -> int:
    """Say whether the lab is up, and what runs in it. Exit code 127 when it is down."""
    return lab_command.status(
        lab.LAB,
        {"network": {"linux": lab.LAB.address, "gateway": lab.LAB.gateway, "dns": lab.LAB.dns}},
        _guests,
        as_json,
    )


def _guests() -> list[str]:
    """Of each guest the number of its process."""
    return lab.LAB.call("pidof qemu-system-x86_64", deadline_s=15).split()


@kvm.command()
@click.option("--raw", is_flag=True, help="Every byte as it came, control sequences too.")
def log(raw: bool) -> int:
    """Print what the lab's Linux said.

    Control characters are shown (^[ is escape), so that no terminal obeys them."""
    return lab_command.log(lab.LAB, raw=raw)


@kvm.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--memory", metavar="SIZE", help="RAM of the VM, as 32M.  [default: what the image asks for]")
@click.option("--machine", "model", type=click.Choice(commandline.MACHINES), default="microvm", show_default=True)
@click.option("-p", "--publish", "forwards", multiple=True, metavar="[ADDR:]HOST:GUEST[/udp]",
              help="Forward a port of this machine.")  # fmt: skip
@click.option("--disk", "disks", multiple=True, metavar="FILE[:ro][:size=N]", help="A disk, as of `floe run`.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
              help="End it after S seconds: exit code 124.")  # fmt: skip
@click.argument("words", metavar="[ELF [ARGS]|COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def run(words: Sequence[str], timeout: float | None, model: str, **options: str | tuple[str, ...] | None) -> int:
    """Boot ELF, an image that floe built, under KVM in the lab: console here, and the script's exit code as ours.

    Anything else is a command for the lab's Linux, its input and output here. A program of this machine's that is an
    ELF, too, is copied there first. One word is a line for its shell; without any there is a shell to type at. All
    options but --timeout are for images."""
    ends = None if timeout is None else time.monotonic() + timeout
    try:
        if words and _is_image(Path(words[0])):
            args = tuple(words[2:] if words[1:2] == ("--",) else words[1:])
            wanted = RunOptions(machine=model, args=args, accel="tcg", **options)  # type: ignore[arg-type]  # click typed each
            return _boot(Path(words[0]), wanted, ends)
        if words and words[0].startswith("-"):
            raise UsageError(
                f"no such option: {words[0]}", hint="floe lab kvm run --help; a command begins with its name"
            )
        if words and (Path(words[0]).is_dir() or words[0].endswith(".py")) and Path(words[0]).exists():
            raise UsageError(
                f"{words[0]} is no ELF", hint=f"floe build -o app.elf {shlex.quote(words[0])}, and run that"
            )
        if words and _is_program(Path(words[0])):
            with nested.put(Path(words[0]).read_bytes()) as path:
                return lab_command.relay(lab.LAB, shlex.join([path, *words[1:]]), timeout_s=_left(ends))
        return lab_command.relay(lab.LAB, lab_command.line(words), timeout_s=_left(ends))
    except TimeoutError:
        lab_command.say(f"ended after {timeout:g} s")
        return EXIT_TIMED_OUT


def _left(ends: float | None) -> float | None:
    return None if ends is None else ends - time.monotonic()


def _is_program(path: Path) -> bool:
    return path.is_file() and is_elf(path)


def _is_image(path: Path) -> bool:
    """Whether a file is an image of floe's, or was one: an ELF with a note of ours."""
    return _is_program(path) and b"Floe\0" in path.read_bytes()


def _boot(path: Path, options: RunOptions, ends: float | None) -> int:
    """Boot an image, again whenever it asks for it. Raises as plan() and guest.settled(), TimeoutError, VmError."""
    lab.LAB.running()
    spec, _ = plan(path, options, lab_command.say)
    with nested.settled(spec) as settled:
        status = lab_command.relay(lab.LAB, nested.script(nested.command(settled)), timeout_s=_left(ends))
        while word := RESETS.get(status):
            again = replace(settled, switches=(*settled.switches, word))
            status = lab_command.relay(lab.LAB, nested.script(nested.command(again)), timeout_s=_left(ends))
    outcome = judge(status, "")
    if outcome is None:
        raise VmError(f"the QEMU in {lab.LAB.title} failed with status {status}", hint="its own words are above")
    return outcome.code
