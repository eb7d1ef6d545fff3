# SPDX-License-Identifier: MIT
"""QMP (QEMU's interop/qmp-spec) over a connected socket, by the qemu.qmp library.

A guest can end before Python has even imported the library, and QEMU sends events only to a monitor that has
negotiated. So negotiate() puts the request into the socket before QEMU starts, with the one to run the guest, which
waits for it (-S): no end goes untold, however early. The library takes over later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

# With ids: of an error to a command without one the library takes its leave.
_NEGOTIATE = b'{"execute": "qmp_capabilities", "id": "first"}\n{"execute": "cont", "id": "second"}\n'

_NMI = b'{"execute": "inject-nmi", "id": "third"}\n'


def negotiate(sock: socket.socket) -> None:
    """Ask for command mode, and for the guest to run; QEMU reads it as soon as it is up."""
    sock.sendall(_NEGOTIATE)


def inject_nmi(sock: socket.socket) -> None:
    """Interrupt the guest where it is: it panics (port/hal/panic.c). `sock`: a duplicate of watch()'s, whose library
    drops the reply. Raises OSError."""
    sock.sendall(_NMI)


async def watch(sock: socket.socket, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
    """Deliver events until QEMU closes the connection; `sock` must have gone through negotiate(), and becomes ours.

    Nothing that must be answered is asked meanwhile: QEMU 7.2, at its end, waits for ever for a request that came in
    just then."""
    from qemu.qmp import EventListener, QMPClient, QMPError, Runstate

    ends = (QMPError, EOFError, OSError)

    def overlook(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The library leaves a task's exception for nobody to fetch where QEMU ends while it connects."""
        if not isinstance(context.get("exception"), ends):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(overlook)
    client = QMPClient("floe")
    client.negotiate = False
    # It does not know the ids of negotiate() and drops the replies with a message that would reach the user's terminal.
    client.logger.setLevel(logging.CRITICAL)

    def deliver(message: Mapping[str, Any]) -> bool:
        on_event(str(message["event"]), message.get("data", {}))
        return False  # delivered: nothing is left to queue

    client.register_listener(EventListener(event_filter=deliver))
    # Why the VM ended is for the owner of the process to say. Once connected, the library asserts that it still runs.
    with contextlib.suppress(*ends, AssertionError):
        await client.connect(sock)
        while client.runstate == Runstate.RUNNING:
            await client.runstate_changed()
        await client.disconnect()
