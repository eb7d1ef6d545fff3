# SPDX-License-Identifier: MIT
"""`floe lab kvm`: ordinary KVM for machines that have none, or only another kind. docs/kvm-lab.md says what it is."""

from __future__ import annotations

from collections.abc import Sequence

import click

from floe.kvm import lab, machine
from floe.lab import relay
from floe.lab.lab import DNS, GATEWAY, LINUX


@click.group()
def kvm() -> None:
    """Ordinary KVM (AMD's SVM with nested paging) in a small Linux, inside QEMU's emulation."""


@kvm.command()
@click.option("--memory", metavar="SIZE", help="RAM for all guests together.  [default: 512M]")
@click.option("--fresh", is_flag=True, help="Build everything again from the packages.")
@click.option("--any-version", is_flag=True, help="Take the mirror's versions of the packages, not the pinned ones.")
def up(memory: str | None, fresh: bool, any_version: bool) -> int:
    """Start the lab: minutes the first time (110 MB of packages), seconds from then on."""
    return relay.start(machine.DESIGN, memory, "Linux", fresh=fresh, any_version=any_version)


@kvm.command()
def down() -> int:
    """End the lab and all guests in it."""
    return relay.end(machine.DESIGN, 1)


@kvm.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def status(as_json: bool) -> int:
    """Say whether the lab is up, and what runs in it. Exit code 127 when it is down."""
    return relay.status(lab.LAB, {"network": {"linux": LINUX, "gateway": GATEWAY, "dns": DNS}}, _guests, as_json)


def _guests() -> list[str]:
    """Of each guest the number of its process."""
    return lab.LAB.call("pidof qemu-system-x86_64", deadline_s=15).split()


@kvm.command()
@click.option("--raw", is_flag=True, help="Every byte as it came, control sequences too.")
def log(raw: bool) -> int:
    """Print what the lab's Linux said.

    Control characters are shown (^[ is escape), so that no terminal obeys them."""
    return relay.log(lab.LAB, raw=raw)


@kvm.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def run(words: Sequence[str]) -> int:
    """Run a command in the lab's Linux, its input and output here, its exit code ours. One word is a line for its
    shell; without any there is a shell to type at."""
    return relay.run(lab.LAB, words)
