# SPDX-License-Identifier: MIT
"""The kernel's side of a guard: one call of the guarded process's at a time, its memory and its descriptors
(seccomp_unotify(2), pidfd_getfd(2))."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from typing import NamedTuple

from .filter import PIDFD_GETFD

_RECV, _SEND, _ID_VALID, _ADDFD = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_SETFD, _ADDFD_SEND = 1, 2
_CALL = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_libc = ctypes.CDLL(None, use_errno=True)


class Call(NamedTuple):
    """A system call that waits for its answer."""

    id: int
    thread: int
    number: int
    args: tuple[int, ...]


def receive(listener: int) -> Call | None:
    """The next one; None: it was broken off. Raises OSError."""
    buffer = bytearray(_CALL.size)
    try:
        fcntl.ioctl(listener, _RECV, buffer)
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    ident, thread, _, number, _, _, *args = _CALL.unpack(buffer)
    return Call(ident, thread, number, tuple(args))


def is_waiting(listener: int, call: Call) -> bool:
    """Whether the call is still to be answered: then its process is the one that asked."""
    try:
        fcntl.ioctl(listener, _ID_VALID, struct.pack("=Q", call.id))
    except OSError:
        return False
    return True


def answer(listener: int, call: Call, value: int) -> None:
    """What the call returns; negative: an error's number. One that was broken off needs none."""
    error = value if value < 0 else 0
    try:
        fcntl.ioctl(listener, _SEND, struct.pack("=QqiI", call.id, max(0, value), error, 0))
    except OSError as e:
        if e.errno != errno.ENOENT:
            raise


def answer_with(listener: int, call: Call, fd: int, number: int) -> None:
    """Give the process this descriptor under that number, which is what the call returns. Raises OSError."""
    request = struct.pack("=QIIII", call.id, _SETFD | _ADDFD_SEND, fd, number, os.O_CLOEXEC)
    fcntl.ioctl(listener, _ADDFD, request)


class Process:
    """A guarded process, by the first call that it made."""

    def __init__(self, thread: int) -> None:
        """Raises OSError."""
        self.pid = _leader(thread)
        self._pidfd = os.pidfd_open(self.pid)
        self._memory = -1

    def close(self) -> None:
        """Let go of it."""
        for fd in (self._pidfd, self._memory):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._memory = -1

    def has(self, thread: int) -> bool:
        """Whether a thread is one of its own."""
        return os.path.exists(f"/proc/{self.pid}/task/{thread}")

    def uses(self, number: int) -> bool:
        """Whether it has a descriptor of that number."""
        return os.path.lexists(f"/proc/{self.pid}/fd/{number}")

    def copy(self, number: int) -> int:
        """A descriptor of ours for one of its. Raises OSError."""
        fd = int(_libc.syscall(PIDFD_GETFD, self._pidfd, number, 0))
        if fd < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return fd

    def read(self, address: int, size: int) -> bytes:
        """So much of its memory. Raises OSError."""
        if address >> 63:
            raise OSError(errno.EFAULT, "not its memory")
        if self._memory >= 0 and len(data := os.pread(self._memory, size, address)) == size:
            return data
        if self._memory >= 0:  # of the program that it was before an execve()
            os.close(self._memory)
        self._memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        data = os.pread(self._memory, size, address)
        if len(data) != size:
            raise OSError(errno.EFAULT, "not its memory")
        return data

    def write(self, address: int, data: bytes) -> None:
        """Raises OSError."""
        self.read(address, 1)
        if os.pwrite(self._memory, data, address) != len(data):
            raise OSError(errno.EFAULT, "not its memory")


def _leader(thread: int) -> int:
    with open(f"/proc/{thread}/status", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("Tgid:"):
                return int(line.split()[1])
    raise OSError(errno.ESRCH, "no such thread")
