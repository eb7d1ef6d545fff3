# SPDX-License-Identifier: MIT
"""`--host` of the verbs that know VMs of other hosts."""

from __future__ import annotations

from typing import Any, TypeVar

import click

VARIABLE = "FLOE_HOST"  # the environment's word for it
F = TypeVar("F", bound=Any)


def on_host(verb: F) -> F:
    """The option, for a verb that takes one host."""
    return click.option(
        "--host", metavar="HOST", envvar=VARIABLE, help=f"Of floe host ls; also {VARIABLE}.  [default: this machine]"
    )(verb)


def on_hosts(verb: F) -> F:
    """The option, for a verb that takes several."""
    return click.option(
        "--host", "hosts", metavar="HOST", multiple=True, envvar=VARIABLE,
        help=f"Of floe host ls; may be given again; also {VARIABLE}.  [default: this machine]",
    )(verb)  # fmt: skip
