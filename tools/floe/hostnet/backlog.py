# SPDX-License-Identifier: MIT
"""More room before QEMU's forwarded ports. QEMU listens with a backlog of one: of clients that come together, as those
of a browser or a load balancer do, the host drops the SYNs, and each costs a second and more.

listen(2) may be called again by whoever has the socket, and pidfd_getfd(2) (Linux 5.6) gives it to QEMU's owner."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from pathlib import Path

_PIDFD_GETFD = 438  # the same on every architecture
_BACKLOG = 1024


def widen(pid: int) -> None:
    """Let every port of IP's that the process listens at have a longer queue; where this is not permitted (a container
    without ptrace), it stays as it is."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(link).startswith("socket:"):
                        _widen(_copy(pidfd, int(link.name)))
        finally:
            os.close(pidfd)


def _copy(pidfd: int, fd: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    copy = int(libc.syscall(_PIDFD_GETFD, pidfd, fd, 0))
    if copy < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return copy


def _widen(fd: int) -> None:
    with socket.socket(fileno=fd) as s:
        if s.family in (socket.AF_INET, socket.AF_INET6) and s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            s.listen(_BACKLOG)
