# SPDX-License-Identifier: MIT
"""`floe lab xen`: a real Xen, with a small dom0, for machines that have none. docs/xen.md says what it is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

from floe.cli import lab_command
from floe.xenlab import lab, machine


@click.group()
def xen() -> None:
    """Debian's Xen with a small Linux dom0, inside QEMU's emulation. Needs no rights and no hardware."""


@xen.command()
@click.option("--memory", metavar="SIZE", help="RAM for all guests together.  [default: 1G]")
@click.option("--fresh", is_flag=True, help="Build everything again from the packages.")
@click.option("--any-version", is_flag=True, help="Take the mirror's versions of the packages, not the pinned ones.")
def up(memory: str | None, fresh: bool, any_version: bool) -> int:
    """Start the lab: minutes the first time (80 MB of packages), seconds from then on."""
    return lab_command.start(machine.DESIGN, memory, "Xen", fresh=fresh, any_version=any_version)


@xen.command()
@click.option("--timeout", type=click.FloatRange(min=0), default=5.0, show_default=True, metavar="S",
              help="How long guests may take over their end.")  # fmt: skip
def down(timeout: float) -> int:
    """End the lab and all guests in it."""
    return lab_command.end(machine.DESIGN, timeout)


@xen.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def status(as_json: bool) -> int:
    """Say whether the lab is up, and what runs in it. Exit code 127 when it is down."""
    network = {"bridge": lab.BRIDGE, "dom0": lab.DOM0, "gateway": lab.GATEWAY, "dns": lab.DNS}
    return lab_command.status(lab.LAB, {"network": network}, _guests, as_json)


def _guests() -> list[str]:
    """Names of the domains beside dom0."""
    return [line.split()[0] for line in lab.call("xl list", deadline_s=15).splitlines()[2:] if line.strip()]


@xen.command()
@click.argument("guest", required=False)
@click.option("--raw", is_flag=True, help="Every byte as it came, control sequences too.")
def log(guest: str | None, raw: bool) -> int:
    """Print the hypervisor's log (with dom0's kernel in it), or what GUEST said on its console.

    Control characters are shown (^[ is escape), so that no terminal obeys them."""
    if guest is None:
        return lab_command.log(lab.LAB, raw=raw)
    path = shlex.quote(f"/var/log/xen/console/guest-{guest}.log")
    script = f"[ ! -e {path} ] && echo 'no guest of that name said anything' && exit 127; cat {path}"
    return lab_command.relay(lab.LAB, script, lab_command.output(raw=raw))


@xen.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def run(words: Sequence[str]) -> int:
    """Run a command in dom0, its input and output here, its exit code ours. One word is a line for its shell; without
    any there is a shell to type at."""
    return lab_command.relay(lab.LAB, lab_command.line(words))
