# SPDX-License-Identifier: MIT
"""The console of one VM between its machine, its log and at most one client. Opens nothing: endpoints.py does.

The log gets what the guest said, but of a raw-REPL session only the program's words (rawmode.py). A client gets what
comes while it is attached, nothing from before; what the guest still says to one that has left goes to the log alone.
What a client sent before it left reaches the guest to the last byte.

A client that is slow holds the guest back. One that has stopped reading does so for less than the second after which
the guest drops output by itself (port/hal/console.c); from then on what comes is queued, and dropped only once there
is more than _SPOOL of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from floe.stream import keys
from floe.stream.link import Link
from floe.stream.logfile import BoundedLog
from floe.stream.rawmode import RawMode

_HIGH = 1 << 20  # bytes queued for the slower side at which the faster one is held back
_TICK_S = 0.5  # how long a client may take nothing at all, and the guest be held back for it
_TICK_BYTES = 1 << 17  # what a client must take in that time not to count as one that does not read
_SPOOL = 16 << 20  # bytes queued for a client that does not read; what comes on top is dropped
_LEFT_S = 5.0  # after which a guest counts as one that does not read at all
# Bytes queued for such a guest, more than a socket's buffers hold; what comes on top is dropped, because the end of a
# connection is seen only behind what its client sent last.
_STALLED = 16 << 20
_HELD_S = 0.25  # how long the log waits for the rest of what begins like raw mode's banner


class Client:
    """Someone at the console. `label` says who, for the one who is refused."""

    def __init__(self, link: Link, label: str) -> None:
        self.link = link
        self.label = label
        self.behind = False  # it does not read: the guest is not held back for it until it has taken what is queued
        self.missing = False  # more came than is kept: what comes is dropped, so that there is one gap
        self.on_left: Callable[[], None] = lambda: None


class Hub:
    """Joins one machine's console with one client at a time."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, log: BoundedLog, *, repl: bool = True) -> None:
        """repl: the guest has one (a dev image), which clients may bring into raw mode."""
        self.client: Client | None = None
        self.on_free: Callable[[], None] = lambda: None
        self.dropped = 0  # bytes that were not read in time by clients or by the guest, since the keeper started
        self._name = name
        self._loop = loop
        self._log = log
        self._machine: Link | None = None
        self._raw = RawMode() if repl else None
        self._held: asyncio.TimerHandle | None = None  # gives up what the log holds back
        self._watch: asyncio.TimerHandle | None = None  # looks whether the client that holds the guest back reads
        self._stalled = False  # the guest does not read: the client is not held back for it

    # ---- the machine's side -------------------------------------------------------------------------

    def connect(self, machine: Link | None) -> None:
        """The console of a machine that was just started, or found again; None: the machine has ended."""
        self._machine = machine
        if self._raw is not None:
            self._log_rest()
            self._raw = RawMode()
        if machine is None:
            return
        machine.on_data = self._from_machine
        machine.on_room = self._machine_has_room
        machine.resume()
        self._machine_has_room()

    def type(self, data: bytes) -> None:
        """Send to the guest what no client typed."""
        if self._machine is not None:
            if self._raw is not None:
                self._raw.typed(data, own=True)
            self._machine.send(data)

    def _from_machine(self, data: bytes) -> None:
        client, raw = self.client, self._raw
        if raw is None or (client is None and raw.idle):
            self._log.write(data)
        else:
            if words := raw.said(data):
                self._log.write(words)
            if self._held is not None:
                self._held.cancel()
            self._held = self._loop.call_later(_HELD_S, self._log_rest) if raw.holds else None
        if client is None:
            return
        client.missing |= client.link.queued >= _SPOOL
        if client.missing:
            self.dropped += len(data)
            return
        client.link.send(data)
        if client.link.queued > _HIGH and not client.behind:
            self._hold_machine_for(client)

    def _log_rest(self) -> None:
        if self._raw is not None and (rest := self._raw.rest()):
            self._log.write(rest)

    def _hold_machine_for(self, client: Client) -> None:
        self._end_watch()
        if self._machine is not None:
            self._machine.pause()
        self._watch = self._loop.call_later(_TICK_S, self._check_client_progress, client, client.link.taken)

    def _check_client_progress(self, client: Client, taken: int) -> None:
        """The guest is held back for a client: not for one that does not read."""
        self._watch = None
        if self.client is not client or client.link.queued <= _HIGH:
            return
        if client.link.taken - taken < _TICK_BYTES:
            client.behind = True
            self._hear_machine()
        else:
            self._hold_machine_for(client)

    def _client_has_room(self, client: Client) -> None:
        if client.link.queued == 0:
            client.behind = client.missing = False
        if client.link.queued <= _HIGH:
            self._hear_machine()

    def _hear_machine(self) -> None:
        self._end_watch()
        if self._machine is not None:
            self._machine.resume()

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # ---- the client's side --------------------------------------------------------------------------

    def attach(self, client: Client) -> bool:
        """Join a client, unless there is one."""
        if self.client is not None:
            return False
        self.client = client
        client.link.on_data = self._from_client
        client.link.on_end = lambda: self.leave(client)
        client.link.on_room = lambda: self._client_has_room(client)
        client.link.resume()
        self._machine_has_room()
        return True

    def refusal(self) -> bytes:
        """The line for a client that comes while there is one."""
        who = self.client.label if self.client else "nobody"
        return f"floe: {self._name} is in use by {who}\r\n".encode()

    def leave(self, client: Client) -> None:
        """The client has left: what waits for it is dropped."""
        if self.client is client:
            self.client = None
            if self._raw is not None and self._raw.inside:
                self.type(b"\r" + keys.FRIENDLY)  # the guest holds back its script's output until then
            client.link.discard()
            client.on_left()
            self._hear_machine()
            self.on_free()

    def look_for_the_end(self) -> None:
        """Let go of a client that has left already: who asks for the console may be seen before the end of that one."""
        client = self.client
        if client is not None and client.link.hung_up and client.link.read_now():
            self.leave(client)

    async def flush(self, seconds: float) -> None:
        """Let the client take the guest's last words."""
        deadline = time.monotonic() + seconds
        client = self.client
        while client is not None and not client.link.closed and client.link.queued and time.monotonic() < deadline:
            taken = asyncio.Event()
            client.link.on_room = taken.set
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(taken.wait(), deadline - time.monotonic())

    def hang_up(self) -> None:
        """The guest that the client spoke to has ended, and another one comes."""
        if self.client is not None:
            self.leave(self.client)

    def _from_client(self, data: bytes) -> None:
        machine, client = self._machine, self.client
        if machine is None or client is None:
            return
        if machine.queued >= _STALLED:
            self.dropped += len(data)
            return
        if self._raw is not None:
            self._raw.typed(data)
        machine.send(data)
        if machine.queued > _HIGH and not self._stalled:
            client.link.pause()
            self._loop.call_later(_LEFT_S, self._check_guest_progress, client, machine.taken)

    def _machine_has_room(self) -> None:
        self._stalled = False
        if self.client is not None and self._machine is not None and self._machine.queued <= _HIGH:
            self.client.link.resume()

    def _check_guest_progress(self, client: Client, taken: int) -> None:
        """The client is held back for the guest: one that has left meanwhile is not waited for for ever."""
        machine = self._machine
        if self.client is not client or machine is None or machine.queued <= _HIGH:
            return
        if machine.taken == taken:
            self._stalled = True
            client.link.resume()
        else:
            self._loop.call_later(_LEFT_S, self._check_guest_progress, client, machine.taken)
