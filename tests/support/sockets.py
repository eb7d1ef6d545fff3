# SPDX-License-Identifier: MIT
"""What a peer of a stream does by hand."""

from __future__ import annotations

import socket
import time
from pathlib import Path


def exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes. Raises EOFError when the other side closes before."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def connect_soon(sock: socket.socket, path: Path, deadline_s: float = 20.0) -> None:
    """Connect to a UNIX socket that another process is about to make."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            sock.connect(str(path))
            return
        except OSError:
            assert time.monotonic() < end, f"no socket {path}"
            time.sleep(0.02)
