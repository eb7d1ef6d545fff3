# SPDX-License-Identifier: MIT
"""What a peer of a stream does by hand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
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


def talk_to_all(server: socket.socket, talk: Callable[[socket.socket], None], deadline_s: float) -> None:
    """Accept until the server is closed, and talk with each in a thread of its own; operations end after the deadline."""
    with suppress(OSError):  # closed: the test is over
        while True:
            conn, _ = server.accept()
            conn.settimeout(deadline_s)
            threading.Thread(target=_talk, args=(conn, talk), daemon=True).start()


def _talk(conn: socket.socket, talk: Callable[[socket.socket], None]) -> None:
    with conn, suppress(OSError):  # the guest is judged by what it prints
        talk(conn)
