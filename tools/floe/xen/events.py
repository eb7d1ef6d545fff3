# SPDX-License-Identifier: MIT
"""What the process of a Xen domain tells its owner over a socket: one line of JSON for each event, as QMP has them
(hypervisor/base.py names them)."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any


def encode(name: str, **data: object) -> bytes:
    """One event on the wire."""
    return json.dumps({"event": name, "data": data}).encode() + b"\n"


async def watch(sock: socket.socket, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
    """Deliver events until the process ends; the socket becomes ours."""
    import asyncio

    sock.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=sock, limit=1 << 20)
    try:
        while line := await reader.readline():
            with contextlib.suppress(ValueError):  # a line that the end of the process has cut off
                message = json.loads(line)
                on_event(message["event"], message["data"])
    except OSError:
        return
    finally:
        writer.close()
