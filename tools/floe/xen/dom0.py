# SPDX-License-Identifier: MIT
"""This machine as a dom0: whether it is one, and scripts run in it as lab.connect() runs them in the lab's."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from floe.errors import FloeError

_CAPABILITIES = Path("/proc/xen/capabilities")
_CPUINFO = Path("/proc/cpuinfo")
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def is_here() -> bool:
    """Whether this is a dom0 (xenfs says control_d) with xl."""
    try:
        return "control_d" in _CAPABILITIES.read_text() and find_xl() is not None
    except OSError:
        return False


def find_xl() -> str | None:
    """Path of xl; None without it."""
    return shutil.which("xl", path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def has_rdrand() -> bool:
    """Whether this processor, as Xen shows it to a dom0, has RDRAND."""
    try:
        return re.search(r"^flags\s*:.*\brdrand\b", _CPUINFO.read_text(), re.MULTILINE) is not None
    except OSError:
        return False


def check_rights() -> None:
    """Raises FloeError where xl would refuse us."""
    if os.geteuid() != 0:
        raise FloeError("only root may start domains in this dom0", hint="sudo floe run --hypervisor xen ...")


def connect(script: str) -> socket.socket:
    """Start a shell script; as lab.connect(). It goes on when we die, and sees the end of its input."""
    ours, theirs = socket.socketpair()
    with theirs:
        fd = theirs.fileno()
        subprocess.Popen(["sh", "-c", script], stdin=fd, stdout=fd, stderr=fd, start_new_session=True)
    return ours
