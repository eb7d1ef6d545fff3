# SPDX-License-Identifier: MIT
"""`floe lab`: test beds that floe brings along, for machines that have none. docs/xen.md, docs/kvm-lab.md."""

from __future__ import annotations

import click

from floe.cli.lab_kvm import kvm
from floe.cli.lab_xen import xen


@click.group(short_help="A Xen, an ordinary KVM, on a machine that has none.")
def command() -> None:
    """Test beds that floe brings along, in QEMU's emulation: they need no rights and no hardware."""


command.add_command(kvm)
command.add_command(xen)
