# SPDX-License-Identifier: MIT
"""The command that reaches a host by ssh: `ssh` or what FLOE_SSH says; it asks nobody and does not wait for long."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence

from floe.hosts.table import SshHost

SSH = "FLOE_SSH"  # the environment's word for another command than ssh, with options
# No password is asked for, nothing is forwarded that is not asked for, and a host that is gone is noticed in seconds.
_OPTIONS = (
    "BatchMode=yes", "ServerAliveInterval=2", "ServerAliveCountMax=3", "ForwardAgent=no",
    "ForwardX11=no", "PermitLocalCommand=no", "RequestTTY=no",
)  # fmt: skip
_NO_FORWARDS = ("ClearAllForwardings=yes",)
# Clearing would clear the one that is asked for. What the configuration has beside it may fail; ssh tells the port; and
# where several share one connection the port would stay.
_ONE_FORWARD = ("ClearAllForwardings=no", "ExitOnForwardFailure=no", "LogLevel=INFO", "ControlPath=none")
DENIED = ("Permission denied", "Host key verification failed", "Too many authentication failures")  # ssh's words
_TELL_S = 5.0
FAILED = 255  # ssh's status where it, and not the command there, has failed


def argv(
    host: SshHost, command: str, *, connect_s: int = 8, forward: tuple[str, ...] = (), more: Sequence[str] = ()
) -> list[str]:
    """What runs a shell's command there; connect_s: for the host to answer; forward: ssh's words for what is forwarded
    meanwhile; more: others of its words. Raises ValueError for a FLOE_SSH that is no command."""
    chosen = (*_OPTIONS, *(_ONE_FORWARD if forward else _NO_FORWARDS), f"ConnectTimeout={connect_s}")
    options = [word for option in chosen for word in ("-o", option)]
    return [*_program(), *options, *forward, *more, *_where(host), command]


def through(host: SshHost, place: str, *, connect_s: int) -> list[str]:
    """What is a connection to ADDRESS:PORT as the host reaches it, by its standard streams. Raises ValueError."""
    return argv(host, "", connect_s=connect_s, more=("-W", place))[:-1]


def typed(host: SshHost) -> str:
    """What a person types to see whether ssh gets there. Raises ValueError."""
    return shlex.join([*_program(), *_where(host), "true"])


def address(host: SshHost) -> str:
    """Where ssh goes: its configuration may have an address for the name. The name where ssh does not tell."""
    try:
        done = subprocess.run(
            [*_program(), "-G", *_where(host)], capture_output=True, text=True, timeout=_TELL_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return host.address
    found = [line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith("hostname ")]
    return found[0] if found else host.address


def _program() -> list[str]:
    return shlex.split(os.environ.get(SSH, "")) or ["ssh"]


def _where(host: SshHost) -> list[str]:
    port = ["-p", str(host.port)] if host.port else []
    user = ["-l", host.user] if host.user else []
    return [*port, *user, "--", host.address]
