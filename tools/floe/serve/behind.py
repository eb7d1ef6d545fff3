# SPDX-License-Identifier: MIT
"""What stands behind a served port: a VM that was started for it (machine.py), or a claimed copy (clones.py)."""

from __future__ import annotations

import asyncio
from typing import Protocol

from floe.serve.joined import Streams
from floe.stream.streams import Stream
from floe.vm.vm import STOP_GRACE_S


class Behind(Protocol):
    """One VM, in the loop of the one who serves."""

    name: str
    console: Stream
    serial: Stream
    over: asyncio.Event  # it has ended, and all that it said is read

    async def connect(self, port: int) -> Streams:
        """A connection to a port of the guest. Raises FloeError, OSError."""

    async def leave(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ask the guest to end, as Ctrl-C does, and end it after grace_s."""

    async def drop(self) -> None:
        """End it at once."""

    def end_at_once(self) -> None:
        """Begin to end it."""
