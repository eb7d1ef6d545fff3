# SPDX-License-Identifier: MIT
"""What a process may reach of its host, by Landlock (Linux' Documentation/userspace-api/landlock.rst).

A ruleset is made by whoever starts the process, and taken upon itself by the process before it becomes the program
(confined.py), which therefore never runs without it. What the kernel is too old for is left out: files from ABI 1 on,
truncation from 3, TCP ports from 4, ioctl of devices from 5, signals and abstract sockets from 6. What is open already
stays usable.
"""

from __future__ import annotations

import ctypes
import functools
import os
import stat
import struct
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from floe.confined import checked

_CREATE_RULESET, _ADD_RULE = 444, 445  # system calls, the same on every architecture
_ASK_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2

# linux/landlock.h
EXECUTE, WRITE, READ, LIST, REMOVE_FILE, MAKE_SOCKET = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 9
TRUNCATE, IOCTL = 1 << 14, 1 << 15
_OF_A_FILE = EXECUTE | WRITE | READ | TRUNCATE | IOCTL
_HANDLED_BITS = (0, 13, 14, 15, 15, 16)  # how many rights to files an ABI knows; later ones as the last
_BIND_TCP, _CONNECT_TCP = 1, 2
_NET_ABI, _SCOPE_ABI = 4, 6
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2

# linux/capability.h
DAC_OVERRIDE, NET_BIND_SERVICE, NET_ADMIN, NET_RAW = 1, 10, 12, 13

_libc = ctypes.CDLL(None, use_errno=True)


class Grant(NamedTuple):
    """A file, or a folder and all below it, and what may be done there."""

    path: str | Path
    rights: int


class Confinement(NamedTuple):
    """What a process takes upon itself. ruleset: a descriptor of Landlock's, -1 where there is none. kept: a mask of
    capabilities. egress: what a guard of its connections is given (floe.egress.guard), "" for none."""

    ruleset: int
    kept: int
    egress: str = ""


@functools.cache
def abi() -> int:
    """Landlock's version, 0 where the kernel has none or a container forbids it."""
    version: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(0, version)


def what(version: int) -> str:
    """For people: what is restricted by this ABI."""
    parts = ("files", *(("TCP ports",) if version >= 4 else ()), *(("devices",) if version >= 5 else ()))
    return ", ".join((*parts, *(("signals",) if version >= _SCOPE_ABI else ())))


def ruleset(grants: Iterable[Grant], *, binds: Collection[int], connects: bool) -> int:
    """A descriptor of what may be done, -1 without Landlock; all else is refused. binds: TCP ports to listen on.
    connects: TCP connections may be made. A file that is not there is left out. Raises OSError."""
    version = abi()
    if not version:
        return -1
    handled = (1 << _HANDLED_BITS[min(version, len(_HANDLED_BITS) - 1)]) - 1
    values = [handled]
    if version >= _NET_ABI:
        values.append(_BIND_TCP | (0 if connects else _CONNECT_TCP))
    if version >= _SCOPE_ABI:
        values.append(_ABSTRACT_SOCKETS | _SIGNALS)
    attributes = struct.pack(f"={len(values)}Q", *values)
    made = checked(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for grant in grants:
            with suppress(OSError):  # not there; or in no file system, which is not asked about
                _add_path(made, grant, handled)
        for port in binds if version >= _NET_ABI else ():
            checked(_libc.syscall(_ADD_RULE, made, _NET_PORT, struct.pack("=QQ", _BIND_TCP, port), 0))
    except BaseException:
        os.close(made)
        raise
    return made


def _add_path(made: int, grant: Grant, handled: int) -> None:
    fd = os.open(grant.path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = grant.rights & handled
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _OF_A_FILE
        checked(_libc.syscall(_ADD_RULE, made, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0))
    finally:
        os.close(fd)
