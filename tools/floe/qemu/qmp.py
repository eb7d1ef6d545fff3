# SPDX-License-Identifier: MIT
"""QMP (QEMU's interop/qmp-spec) over a connected socket, by the qemu.qmp library.

A guest can end before Python has even imported the library, and QEMU sends events only to a monitor that has
negotiated. So negotiate() puts the request into the socket before QEMU starts, with the one to run the guest, which
waits for it (-S): no end goes untold, however early. The library takes over later; it and asyncio are
imported while QEMU starts.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from floe.errors import VmError

if TYPE_CHECKING:
    import asyncio

    from qemu.qmp import QMPClient

# With ids: of an error to a command without one the library takes its leave.
_NEGOTIATE = b'{"execute": "qmp_capabilities", "id": "first"}\n'
_RUN = b'{"execute": "cont", "id": "second"}\n'

_INSTRUCTION = re.compile(r"\b[RE]IP=([0-9a-f]+)")

_NMI = b'{"execute": "inject-nmi", "id": "third"}\n'


def negotiate(sock: socket.socket, *, run: bool = True) -> None:
    """Ask for command mode, and for the guest to run; QEMU reads it as soon as it is up."""
    sock.sendall(_NEGOTIATE + _RUN if run else _NEGOTIATE)


def inject_nmi(sock: socket.socket) -> None:
    """Interrupt the guest where it is: it panics (port/hal/panic.c). `sock`: a duplicate of watch()'s, whose library
    drops the reply. Raises OSError."""
    sock.sendall(_NMI)


class Commands:
    """What is asked of a QEMU while watch() delivers its events.

    QEMU 7.2, at its end, waits for ever for a request that came in just then: ask while the guest cannot end (it waits
    for us, or stands still), and with a deadline."""

    def __init__(self) -> None:
        import asyncio

        self.version = ""  # "7.2.22", once it has greeted
        self._client: QMPClient | None = None
        self._connected = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether QEMU has ended."""
        return self._connected.is_set() and self._client is None

    def opened(self, client: QMPClient | None) -> None:
        """watch() has connected; None: and has ended."""
        self._client = client
        if client is not None and client.greeting is not None:
            said: Any = client.greeting.QMP.version["qemu"]
            self.version = f"{said['major']}.{said['minor']}.{said['micro']}"
        self._connected.set()

    async def ask(self, name: str, arguments: Mapping[str, object] | None = None, *, deadline_s: float = 5.0) -> object:
        """Have it do a thing; its answer. Raises VmError: it refused, it did not answer in time, it has ended."""
        import asyncio

        from qemu.qmp import QMPError

        try:
            async with asyncio.timeout(deadline_s):
                await self._connected.wait()
                if self._client is None:
                    raise VmError("QEMU has ended")
                return await self._client.execute(name, dict(arguments) if arguments else None)
        except TimeoutError:
            raise VmError(f"QEMU does not answer {name}") from None
        except (QMPError, OSError) as e:
            raise VmError(f"QEMU refuses {name}: {e}") from e

    async def give(self, name: str, fd: int) -> None:
        """Give it a descriptor to be known by this name. Raises VmError."""
        await self._send(fd)
        await self.ask("getfd", {"fdname": name})

    async def lend(self, fd: int) -> object:
        """Give it a descriptor; its number there ("fd"), and by what "remove-fd" knows it ("fdset-id"). Raises
        VmError."""
        await self._send(fd)
        return await self.ask("add-fd")

    async def _send(self, fd: int) -> None:
        """The request that takes it must come next. Raises VmError."""
        from qemu.qmp import QMPError

        await self._connected.wait()
        try:
            if self._client is not None:
                self._client.send_fd_scm(fd)
        except (QMPError, OSError) as e:
            raise VmError(f"QEMU takes no descriptor: {e}") from e


async def instruction(commands: Commands) -> int:
    """The address that the processor is at; it is interrupted for that and goes on. Raises VmError."""
    said = str(await commands.ask("human-monitor-command", {"command-line": "info registers"}))
    found = _INSTRUCTION.search(said)
    if found is None:
        raise VmError("QEMU does not say where the processor is", evidence=said[:200])
    return int(found[1], 16)


async def exits(commands: Commands) -> dict[str, int]:
    """How often the processor has left the guest since its start, by what KVM calls the reasons; "exits": in all.
    Empty where there is no KVM, or one that QEMU cannot read them of. Raises VmError."""
    said: Any = await commands.ask("query-stats", {"target": "vcpu"})
    found = {one["name"]: one["value"] for source in said for one in source["stats"] if source["provider"] == "kvm"}
    return {name: value for name, value in found.items() if name.endswith("exits") and isinstance(value, int)}


async def has_kvm(commands: Commands) -> bool:
    """Whether it is KVM that runs the guest. Raises VmError."""
    said: Any = await commands.ask("query-kvm")
    return bool(said["enabled"])


async def watch(
    sock: socket.socket, on_event: Callable[[str, Mapping[str, Any]], None], commands: Commands | None = None
) -> None:
    """Deliver events until QEMU closes the connection; `sock` must have gone through negotiate(), and becomes ours."""
    import asyncio
    import logging

    from qemu.qmp import QMPClient, QMPError, Runstate

    ends = (QMPError, EOFError, OSError, UnicodeDecodeError)  # the last one: of a QEMU that a guest has got into

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

    client.events.event_filter = deliver  # the listener that the library has by itself: it would keep each event
    # Why the VM ended is for the owner of the process to say. Once connected, the library asserts that it still runs.
    try:
        with contextlib.suppress(*ends, AssertionError):
            await client.connect(sock)
            if commands is not None:
                commands.opened(client)
            while client.runstate == Runstate.RUNNING:
                await client.runstate_changed()
            await client.disconnect()
    finally:
        if commands is not None:
            commands.opened(None)
