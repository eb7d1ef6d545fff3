# SPDX-License-Identifier: MIT
"""`floe run`: build if needed, boot, console here, and the script's exit code as ours."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from floe import accel, elf, errors, image, net, ports, qemu
from floe.errors import FloeError, UsageError
from floe.qemu import Endpoints, VmSpec
from floe.session import Session
from floe.stamps import SWITCH, BootTimes


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for; None and empty where it says nothing."""

    dev: bool = False
    memory: str | None = None
    forwards: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    accel: str = "auto"
    machine: str = "microvm"
    stamps: bool = False


@click.command(short_help="Build if needed, boot, and show the console here.")
@click.argument("app", type=click.Path(path_type=Path))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--dev", is_flag=True, help="Build with REPL and compiler; the REPL follows the script.")
@click.option("--memory", metavar="SIZE", help="RAM of the VM, as 32M.  [default: what the image asks for]")
@click.option("-p", "--publish", "forwards", multiple=True, metavar="[ADDR:]HOST:GUEST[/udp]",
              help="Forward a port of this machine; ADDR is 127.0.0.1 if not given, HOST 0 any free port.")  # fmt: skip
@click.option("--net", "cards", multiple=True, metavar="KIND[,ip=ADDR/BITS|dhcp|none][,gw=ADDR][,dns=ADDR][,mac=MAC]",
              help="A network card: user, none, tap:NAME, listen:PATH or connect:PATH.  [default: user]")  # fmt: skip
@click.option(
    "--env", "env", multiple=True, metavar="K[=V]", help="Set for os.getenv(); without =V, this shell's value."
)
@click.option("--accel", "accel_name", type=click.Choice(accel.ACCELS), default="auto", show_default=True)
@click.option("--machine", type=click.Choice(qemu.MACHINES), default="microvm", show_default=True)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="End the VM after S seconds: exit code 124.",
)
@click.option("--stamps", is_flag=True, help="Print when kernel and script started.")
@click.option("--dry-run", is_flag=True, help="Print QEMU's command line instead of running it.")
@click.option("-v", "--verbose", is_flag=True, help="Say which accelerator and command line are used.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on standard error: how it went.")
def command(
    app: Path,
    timeout: float | None,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
    accel_name: str,
    **wishes: str | bool | tuple[str, ...] | None,
) -> int:
    """Boot APP: a .py file or a folder with image.toml, built if needed, or an ELF that floe built.

    ARGS are the script's sys.argv[1:]; put -- before them. Ctrl-C asks the script to end; a second Ctrl-C, or
    Ctrl-], ends the VM."""
    # click gives each option the type that its field in Wishes has; **wishes can only say their union.
    spec, why_no_kvm = plan(app, Wishes(accel=accel_name, **wishes))  # type: ignore[arg-type]
    if dry_run:
        argv = qemu.command_line(spec, Endpoints.for_paste())
        click.echo(json.dumps(argv) if as_json else shlex.join(argv))
        return errors.EXIT_OK
    if verbose:
        say(f"using {spec.accel}" + (f"; {why_no_kvm}" if why_no_kvm else ""))
    session = Session(spec, interactive=bool(wishes["dev"]), say=say)
    if not as_json:
        session.on_stamps = lambda times: say(times.text())

    def started() -> None:
        if verbose:
            say(shlex.join(session.vm.argv))

    try:
        code = session.run(timeout, meanwhile=started)
    except FloeError as e:
        if as_json:
            click.echo(json.dumps(_report(session, e.exit_code)), err=True)
        raise
    if as_json:
        click.echo(json.dumps(_report(session, code)), err=True)
    return code


def say(text: str) -> None:
    """One line of floe's own on standard error."""
    click.echo(f"floe: {text}", err=True)


def plan(app: Path, wishes: Wishes) -> tuple[VmSpec, str]:
    """What to boot, built if it must be, with ports known to be free; and why not KVM, "" if it is used or not wanted.

    Raises what image.build(), elf.read(), ports.claim() and accel.choose() do, and UsageError."""
    if _is_elf(app):
        built, made = None, elf.read(app)
        if wishes.dev and made.content["profile"] != "dev":
            raise UsageError(f"{app} is a sealed image", hint="floe run --dev APP, with the script it was built from")
    else:
        built = image.build(app, profile="dev" if wishes.dev else None, say=say)
        made = built.image
        for warning in built.warnings:
            say(f"warning: {warning}")
    config = built.config if built else None
    memory = qemu.parse_memory(wishes.memory) if wishes.memory else int(made.content["memory"])
    _check_memory(made, memory)
    asked = [ports.parse_forward(text) for text in wishes.forwards]
    own = [ports.parse_forward(text) for text in config.ports] if config else []
    taken = {(f.guest_port, f.protocol) for f in asked}
    forwards = [*asked, *(f for f in own if (f.guest_port, f.protocol) not in taken)]
    cards = _cards(made, wishes.cards, forwards)
    chosen, why_no_kvm = accel.choose(wishes.accel)
    spec = VmSpec(
        elf=made.path,
        memory=memory,
        machine=wishes.machine,
        accel=chosen,
        cards=cards,
        forwards=ports.claim(forwards),
        env=tuple({**(config.env if config else {}), **dict(map(_variable, wishes.env))}.items()),
        args=wishes.args or (config.args if config else ()),
        switches=(SWITCH,) if wishes.stamps else (),
    )
    return spec, why_no_kvm


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as f:
            return f.read(4) == b"\x7fELF" or path.suffix == ".elf"
    except OSError:
        return path.suffix == ".elf"


def _check_memory(made: elf.Image, memory: int) -> None:
    top = max(segment.address + segment.memory_bytes for segment in made.segments)
    if top > memory:
        need = (top >> 20) + 1
        raise UsageError(
            f"{memory / (1 << 20):g} MiB of memory are too little: the image reaches up to {top / (1 << 20):.1f} MiB",
            hint=f"--memory {need}M at least, and what the script needs on top",
        )


def _cards(made: elf.Image, values: Sequence[str], forwards: Sequence[ports.Forward]) -> tuple[net.Card, ...]:
    """The network cards; none by default for an image that has no driver for them."""
    if "virtio-net" in made.content["drivers"]:
        cards = net.parse_cards(values)
    elif forwards or any(value != "none" for value in values):
        what = forwards[0].option() if forwards else f"--net {values[0]}"
        raise UsageError(f"{what}: {made.content['name']} has no network: nothing in it imports network or socket")
    else:
        cards = ()
    if forwards and not any(card.kind == "user" for card in cards):
        raise UsageError(f"{forwards[0].option()}: ports are forwarded to a card of kind user only, and there is none")
    return cards


def _variable(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        raise UsageError(f"--env {text}: not a name of an environment variable", hint="--env NAME=VALUE")
    if not equals:
        if key not in os.environ:
            raise UsageError(f"--env {key}: this shell has no such variable", hint=f"--env {key}=VALUE")
        value = os.environ[key]
    return key, value


def _report(session: Session, code: int) -> dict[str, object]:
    vm = session.vm
    times = session.stamps.times if session.stamps else None
    return {
        "exit_code": code,
        "cause": vm.outcome.cause if vm.outcome else "failure",
        "accel": vm.spec.accel,
        "machine": vm.spec.machine,
        "memory": vm.spec.memory,
        "ports": [asdict(forward) for forward in vm.spec.forwards],
        "resets": vm.resets,
        "stamps_ms": (times or BootTimes()).as_dict() if session.stamps else None,
    }
