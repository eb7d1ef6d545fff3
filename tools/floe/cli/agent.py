# SPDX-License-Identifier: MIT
"""`floe agent`: what another host's floe starts here by ssh (docs/fork.md, "Other hosts"). Not for people."""

from __future__ import annotations

import click

from floe.agent import agent
from floe.errors import UsageError
from floe.stream.streams import is_foreground_terminal


@click.command()
def command() -> None:
    """Run copies of a VM of another host's, which starts this by ssh and speaks to it on standard input and output."""
    if is_foreground_terminal(0):
        raise UsageError("floe agent is for the floe of another host", hint="floe host add NAME ssh://HOST, there")
    agent.serve()
