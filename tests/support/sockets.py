# SPDX-License-Identifier: MIT
"""What a peer of a stream does by hand."""

from __future__ import annotations

import socket


def exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes. Raises EOFError when the other side closes before."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
