# SPDX-License-Identifier: MIT
"""QMP (QEMU's interop/qmp-spec) over a connected socket, by the qemu.qmp library. Prints nothing.

A guest can end before Python has even imported the library, and QEMU sends events only to a monitor that has
negotiated. So negotiate() puts the request into the socket before QEMU starts, and the library takes over later.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

from floe.errors import VmError

_NEGOTIATE = b'{"execute": "qmp_capabilities"}\n'


def negotiate(sock: socket.socket) -> None:
    """Ask for command mode; QEMU reads it as soon as it is up."""
    sock.sendall(_NEGOTIATE)


class Monitor:
    """One QMP connection in a running event loop; `sock` must have gone through negotiate(), and becomes ours."""

    def __init__(self, sock: socket.socket, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        import asyncio

        from qemu.qmp import EventListener, QMPClient

        self.attempted = asyncio.Event()  # run() has connected, or has failed to
        self._sock = sock
        self._client = QMPClient("floe")
        self._client.negotiate = False
        # The reply to negotiate() has no id and is dropped with a warning that would reach the user's terminal.
        self._client.logger.setLevel(logging.ERROR)

        def deliver(message: Mapping[str, Any]) -> bool:
            on_event(str(message["event"]), message.get("data", {}))
            return False  # delivered: nothing is left to queue

        self._client.register_listener(EventListener(event_filter=deliver))

    async def run(self) -> None:
        """Deliver events until QEMU closes the connection; returns after the last one was delivered."""
        from qemu.qmp import QMPError, Runstate

        try:
            await self._client.connect(self._sock)
            self.attempted.set()
            while self._client.runstate == Runstate.RUNNING:
                await self._client.runstate_changed()
            await self._client.disconnect()
        except (QMPError, EOFError, OSError):
            return  # the connection ended; why the VM did is for the owner of the process to say
        finally:
            self.attempted.set()

    async def wait_up(self) -> None:
        """Return when QEMU answers: it then runs the guest. Raises VmError."""
        await self.attempted.wait()
        await self.execute("query-status")

    async def execute(self, command: str, **arguments: object) -> Any:
        """Run a QMP command and return what it returns. Raises VmError."""
        from qemu.qmp import QMPError

        try:
            return await self._client.execute(command, arguments)
        except (QMPError, OSError) as e:
            raise VmError(f"QEMU refused {command}: {e}") from e
