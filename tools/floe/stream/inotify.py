# SPDX-License-Identifier: MIT
"""inotify(7), as much of it as says "something happened here, look again". Owns one descriptor."""

from __future__ import annotations

import ctypes
import os

MODIFY, CLOSE_WRITE, CLOSE_NOWRITE, OPEN, MOVED_FROM, MOVED_TO, CREATE = 0x2, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100
_NONBLOCK, _CLOEXEC = 0o4000, 0o2000000
_ROOM = 4096


class Watch:
    """Watches one path; raises OSError where the kernel has no watch left for this user."""

    def __init__(self, path: str, mask: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.inotify_init1(_NONBLOCK | _CLOEXEC)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(path), mask) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, os.strerror(number), path)

    def happened(self) -> bool:
        """Whether anything happened since the last call."""
        any_event = False
        try:
            while os.read(self.fd, _ROOM):
                any_event = True
        except BlockingIOError:
            pass
        return any_event

    def close(self) -> None:
        """Watch no more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
