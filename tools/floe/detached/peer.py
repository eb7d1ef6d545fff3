# SPDX-License-Identifier: MIT
"""Whose socket is at the other end of a TCP connection over 127.0.0.1: proc_net_tcp(5)."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_TABLES = ("tcp", "tcp6")  # an IPv6 socket may connect to ::ffff:127.0.0.1
_MAPPED = "0000000000000000FFFF0000"
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9  # columns


def owner(sock: socket.socket) -> int | None:
    """User id of the peer's socket; None where it cannot be told: the peer has left, or it is not on this machine."""
    try:
        theirs, ours = (_shown(*address[:2]) for address in (sock.getpeername(), sock.getsockname()))
    except OSError:
        return None
    for table in _TABLES:
        try:
            lines = Path("/proc/self/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            ends = (fields[_LOCAL].removeprefix(_MAPPED), fields[_REMOTE].removeprefix(_MAPPED))
            if ends == (theirs, ours) and fields[_INODE] != "0":  # 0: nobody has it open, and the table says root
                return int(fields[_UID])
    return None


def _shown(address: str, port: int) -> str:
    """As the table has it: the address as a number of this machine's byte order."""
    return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}:{port:04X}"
