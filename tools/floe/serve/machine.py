# SPDX-License-Identifier: MIT
"""One VM behind a served port, in the loop of the one who serves: no call here stops that loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from floe.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_TIMED_OUT, FloeError, VmError
from floe.serve.joined import Streams
from floe.serve.packets import Ear
from floe.spec import handover
from floe.spec.vmspec import VmSpec
from floe.vm.outcome import Outcome
from floe.vm.vm import STOP_GRACE_S, Vm

LISTEN_S = 60.0  # from a VM's start until it listens
_AGAIN_S, _SELDOM_S = 0.001, 0.05  # between two tries at a port that refuses, first and at the most
_HERE = "127.0.0.1"


class Machine(Vm):
    """A VM whose ports take connections once the guest listens."""

    def __init__(self, spec: VmSpec, loop: asyncio.AbstractEventLoop, blobs: Sequence[handover.Blob]) -> None:
        super().__init__(spec, loop=loop)
        self.name = spec.name
        self.over = asyncio.Event()  # it has ended, and all that it said is read
        self.on_over: Callable[[], None] = lambda: None
        self.leaving = False  # it was asked to end
        self._own_blobs = tuple(blobs)
        self._runs = asyncio.Event()
        self._start = asyncio.Event()  # set, and replaced, when it is started again
        self._answers: set[int] = set()  # ports of the guest that were seen to take a connection
        self._ear: Ear | None = None  # until the first port has answered
        self._network_up = asyncio.Event()
        self._trying: dict[int, asyncio.Future[bool]] = {}  # by port of the guest
        self._turns: dict[int, asyncio.Lock] = {}  # of those that try a port
        self._firsts: set[int] = set()  # ports that are tried

    @property
    def listened(self) -> bool:
        """Whether it has taken a connection."""
        return bool(self._answers)

    @property
    def ended_well(self) -> bool:
        """Whether it has ended by itself, with 0."""
        return self.outcome is not None and self.outcome.code == EXIT_OK

    def how(self) -> str:
        """How it ended, for a line to the user."""
        if self._failure is not None:
            return self._failure.message
        if self.outcome is None:
            return "it runs"
        if self.outcome.cause == "timeout":
            return f"not within {LISTEN_S:g} s"
        return f"it ended with {self.outcome.code}, {self.outcome.cause}"

    async def connect(self, port: int) -> Streams:
        """A connection to a port of the guest, which is waited for where it does not listen yet: this very one is its
        first. Raises VmError: the VM has ended, or does not listen in time; OSError."""
        try:
            async with asyncio.timeout(LISTEN_S):
                return await self._connected(port)
        except TimeoutError:
            if not self._answers:
                self.end(Outcome(EXIT_TIMED_OUT, "timeout"), speak=False)
            raise VmError(f"{self.name} does not listen on port {port} within {LISTEN_S:g} s") from None

    async def leave(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ask the guest to end, as Ctrl-C does, and end it after grace_s."""
        if not self.over.is_set():
            self.leaving = True
            self.ask_to_end()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.over.wait()
        await self.drop()

    async def drop(self) -> None:
        """End it at once."""
        if not self.over.is_set():
            self.leaving = True
            self.end(Outcome(EXIT_INTERRUPTED, "interrupt"), speak=False)
            await self.over.wait()

    # ---- of Vm ----------------------------------------------------------------------------------------

    def _provide(self) -> None:
        """What is taken of this host was taken once for all VMs."""
        self._blobs = self._own_blobs

    def _spawn(self) -> list[socket.socket]:
        self._deafen()
        self._start.set()
        self._start = asyncio.Event()
        self._runs.clear()
        self._network_up.clear()
        self._answers.clear()
        self._ear = ear = Ear(self.loop)
        ear.on_frame = self._network_up.set
        ear.on_listens = self._listens
        self._inherited = [ear.theirs]
        self._packets = str(ear.theirs)
        try:
            return super()._spawn()
        except FloeError:
            self._deafen()
            raise
        finally:
            ear.lent()

    def _on_event(self, name: str, data: Mapping[str, Any]) -> None:
        super()._on_event(name, data)
        if name == "RESUME":
            self._runs.set()

    def _over(self) -> None:
        if not self.over.is_set() and (self.outcome or self._failure):
            self._deafen()
            self._release()
            self.over.set()
            for trying in self._trying.values():
                _settle(trying, False)
            self.on_over()

    # ---- its ports ------------------------------------------------------------------------------------

    async def _connected(self, port: int) -> Streams:
        if not self._answers or port in self._firsts:
            async with self._turns.setdefault(port, asyncio.Lock()):
                if not self._answers:
                    await self._either(self._runs)
                    await self._either(self._network_up)
                    return await asyncio.open_connection(sock=await self._first(port))
        start = self._start
        try:
            return await asyncio.open_connection(_HERE, self.ports[port])
        except ConnectionRefusedError:  # its hypervisor has ended
            await self._either(start)
        return await self._connected(port)

    async def _first(self, port: int) -> socket.socket:
        """Try until the guest takes it; each refusal of the guest's is the end of a try. Raises VmError."""
        pause = _AGAIN_S
        self._firsts.add(port)
        try:
            while (sock := await self._tried(port)) is None:
                await self._either(None, pause)
                pause = min(pause * 1.5, _SELDOM_S)
            return sock
        finally:
            self._firsts.discard(port)
            if not self._firsts and self._answers:
                self._deafen()

    async def _tried(self, port: int) -> socket.socket | None:
        """A connection that the guest has taken, or None. Raises VmError."""
        self._check()
        sock = socket.socket()
        sock.setblocking(False)
        self._trying[port] = trying = self.loop.create_future()
        taken = False
        try:
            await self.loop.sock_connect(sock, (_HERE, self.ports[port]))
            self.loop.add_reader(sock, self._readable, sock, trying)
            taken = await trying
        except OSError:  # its hypervisor ends
            pass
        finally:
            del self._trying[port]
            self.loop.remove_reader(sock)
            if not taken:
                sock.close()
        return sock if taken else None

    def _readable(self, sock: socket.socket, trying: asyncio.Future[bool]) -> None:
        """There are bytes, or it was refused; or it was taken and has ended, which is heard."""
        if self._ear is not None:
            self._ear.hear()
        _settle(trying, bool(_peeked(sock)))

    def _listens(self, port: int) -> None:
        """The guest took a connection, which is ours: nobody else comes before the first."""
        self._answers.add(port)
        if port in self._trying:
            _settle(self._trying[port], True)

    def _deafen(self) -> None:
        if self._ear is not None:
            self._ear.close()
            self._ear = None

    async def _either(self, event: asyncio.Event | None, seconds: float | None = None) -> None:
        """Wait for the event, or so long. Raises VmError when the VM ends meanwhile."""
        waits = [self.loop.create_task(each.wait()) for each in (self.over, event) if each is not None]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._check()

    def _check(self) -> None:
        if self.over.is_set():
            raise VmError(f"{self.name} has ended before it listened")


def _settle(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)


def _peeked(sock: socket.socket) -> bytes:
    """What has come; b"" where the other side has closed or reset it."""
    try:
        return sock.recv(1, socket.MSG_PEEK)
    except OSError:
        return b""
