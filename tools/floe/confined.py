# SPDX-License-Identifier: MIT
"""How a process confines itself before it becomes a program: by a ruleset of Landlock's, and by giving capabilities up.

Also run from a file in a VM's folder, beside parent.py, of which it must not make much more: it imports what that has
imported, and ctypes.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

_RESTRICT_SELF = 446  # landlock_restrict_self(2)'s number, the same on every architecture
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h


def confining(ruleset: int, kept: int) -> Callable[[], None]:
    """A function for the new process, or the thread that will start it, to call: no way leads back. ruleset: a
    descriptor, -1 for none. kept: a mask of capabilities. It makes a few system calls, takes no lock, and raises
    OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: the low halves, then the high ones
    low, high = kept & 0xFFFFFFFF, kept >> 32

    def confine() -> None:
        # An execve() by root then gives back none of the capabilities that are dropped here.
        checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        if ruleset >= 0:
            checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
        checked(libc.capget(header, sets))
        sets[:] = [word & mask for word, mask in zip(sets, (low, low, low, high, high, high), strict=True)]
        checked(libc.capset(header, sets))

    return confine


def checked(result: int) -> int:
    """What a system call returned. Raises OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
