# SPDX-License-Identifier: MIT
"""What the process of a Xen domain tells its owner over a socket: one line of JSON for each event, as QMP has them
(hypervisor.py names them), and UP when the guest runs. Prints nothing."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from floe.errors import VmError


def encode(name: str, **data: object) -> bytes:
    """One event on the wire."""
    return json.dumps({"event": name, "data": data}).encode() + b"\n"


class Monitor:
    """The owner's end, in a running event loop; the socket becomes ours."""

    def __init__(self, sock: socket.socket, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        import asyncio

        self._sock = sock
        self._on_event = on_event
        self._changed = asyncio.Event()
        self._up = False

    async def run(self) -> None:
        """Deliver events until the process ends."""
        import asyncio

        self._sock.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=self._sock, limit=1 << 20)
        try:
            while line := await reader.readline():
                with contextlib.suppress(ValueError):  # a line that the end of the process has cut off
                    self._deliver(json.loads(line))
        except OSError:
            return
        finally:
            writer.close()
            self._changed.set()

    def _deliver(self, message: Mapping[str, Any]) -> None:
        if message["event"] == "UP":
            self._up = True
            self._changed.set()
        else:
            self._on_event(message["event"], message["data"])

    async def wait_up(self) -> None:
        """Return when the domain runs. Raises VmError when its process ended before."""
        await self._changed.wait()
        if not self._up:
            raise VmError("the domain ended before it ran")
