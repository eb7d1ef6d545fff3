# SPDX-License-Identifier: MIT
"""The hosts of a family: one ssh to each that is used, kept until the family's end, with a floe at its other end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from floe import __version__
from floe.errors import FloeError
from floe.family.member import Unplaced
from floe.hosts import ssh, table
from floe.hosts.line import BEAT_S, PIECE, PROTOCOL, SILENT_BEATS, BrokenLine, Channel, Kind, Line, Message
from floe.hosts.pages import Packer, Unpacker, pages_of
from floe.hosts.table import SshHost
from floe.stream.streams import Stream

_OPEN_S = 15.0
_LAST_S = 2.0  # for ssh's own words, once the line has ended
_SAID = 16 << 10  # bytes of them
_CLOSE_S = 1.0


class Session:
    """One ssh, and who speaks through it."""

    def __init__(self, host: SshHost, elf: Path, loop: asyncio.AbstractEventLoop) -> None:
        """Start it. elf: the family's image. Raises Unplaced."""
        self.host = host
        self.packer = Packer()
        self.unpacker = Unpacker()
        self.lost: Unplaced | None = None
        self.expected = 0  # how many are about to join()
        self._served = False  # something was started there
        self._elf = elf
        self._loop = loop
        self._last = 0
        self._receivers: dict[int, tuple[Callable[[Message], None], Callable[[Unplaced], None]]] = {}
        self._open: asyncio.Future[None] = loop.create_future()
        self._image: tuple[str, int] = ("", 0)
        self._sending_image: asyncio.Task[None] | None = None
        self._refused: set[int] = set()  # VMs that cannot be, and whose ends are not known yet
        self._silent = 0
        self._gone = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        ours, theirs = socket.socketpair()
        said, says = socket.socketpair()
        try:
            with theirs, says:
                self._process = subprocess.Popen(
                    ssh.argv(host, f"exec {shlex.quote(host.floe)} agent"),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=says.fileno(),
                    start_new_session=True,
                )
        except (OSError, ValueError) as e:
            ours.close()
            said.close()
            raise Unplaced(errno.EHOSTUNREACH, f"{host.name}: cannot start ssh: {e}") from None
        self._said = Stream(said, loop, lambda: None, _SAID)
        self.line = Line(fd := ours.detach(), fd, loop)
        self.line.on_message = self._hear
        self.line.on_end = self._over
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._reap)
        self._beat = loop.call_later(BEAT_S, self._ping)

    @property
    def spent(self) -> bool:
        """It has ended, or all that was asked of it was refused: what the other side lacked may be there by now."""
        return self.lost is not None or not (self._served or set(self._receivers) - self._refused or self.expected)

    async def opened(self) -> None:
        """Wait until the other side has answered. Raises Unplaced."""
        try:
            async with asyncio.timeout(_OPEN_S):
                await asyncio.shield(self._open)
        except TimeoutError:
            self._over("it says nothing")
            raise Unplaced(errno.EHOSTUNREACH, f"{self.host.name}: its floe does not answer") from None

    async def image(self) -> tuple[str, int]:
        """SHA-256 and size of the image. Raises OSError."""
        if not self._image[1]:
            pages = pages_of(self._elf)
            content = self._elf.read_bytes()
            self._image = (hashlib.sha256(content).hexdigest(), len(content))
            self.packer.seed(pages)
            self.unpacker.seed(pages)
        return self._image

    def join(self, hear: Callable[[Message], None], lose: Callable[[Unplaced], None]) -> int:
        """A number for a VM, whose messages go to `hear` from now on; `lose` is told the end of the line."""
        self.expected -= 1
        self._last += 1
        self._receivers[self._last] = (hear, lose)
        return self._last

    def leave(self, vm: int) -> None:
        """Nothing of that VM's is of interest any more."""
        self._receivers.pop(vm, None)
        self._refused.discard(vm)

    async def send_file(self, place: tuple[int, int], fd: int, start: int, end: int) -> None:
        """A part of a file, for a VM's stream. Raises OSError."""
        while start < end and self.lost is None:
            data = os.pread(fd, min(PIECE, end - start), start)
            if not data:
                raise OSError(errno.EIO, "a file that is sent has become shorter")
            self.line.send(Kind.FILE, place[0], start.to_bytes(8, "little") + data, place[1])
            start += len(data)
            await self.line.room()

    def leave_it(self) -> None:
        """Begin to end it, and with it what runs there: close() is to follow."""
        self._beat.cancel()
        if self._sending_image is not None:
            self._sending_image.cancel()
        self.line.close()
        if not self._gone.is_set():
            self._process.terminate()

    def give_up(self) -> None:
        """close() one that is spent; who waits for an end there is told."""
        self.close()
        self._fail(Unplaced(errno.EHOSTUNREACH, f"{self.host.name}: all was refused"))

    def close(self, wait_s: float = _CLOSE_S) -> None:
        """End it; ssh may take so long for it. May be called more than once."""
        self.leave_it()
        if not self._gone.is_set():
            self._loop.remove_reader(self._pidfd)
            try:
                self._process.wait(wait_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._left()
        self._said.close()

    # ---- what comes ----------------------------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        self._silent = 0
        if message.kind is Kind.HELLO:
            self._greeted(message)
        elif not self._open.done():
            raise BrokenLine(f"{message.kind.name} before HELLO")
        elif message.kind is Kind.READY:
            self._served = True
            self._tell(message)
        elif message.kind is Kind.NEED:
            self._sending_image = self._sending_image or self._loop.create_task(self._send_image(message.vm))
        else:
            if message.kind is Kind.FAILED:
                self._refused.add(message.vm)
            self._tell(message)

    def _tell(self, message: Message) -> None:
        if message.vm in self._receivers:
            self._receivers[message.vm][0](message)
        elif message.kind is Kind.DATA and message.stream == Channel.STATE:
            self.unpacker.unpack(message.payload)  # later states build on it

    def _greeted(self, message: Message) -> None:
        try:
            told = msgspec.json.decode(message.payload, type=dict[str, Any])
        except msgspec.DecodeError as e:
            raise BrokenLine(f"HELLO that is none: {e}") from None
        theirs = (told.get("floe"), told.get("protocol"))
        if theirs != (__version__, PROTOCOL):
            text = (
                f"{self.host.name} has floe {theirs[0]} (protocol {theirs[1]}), this machine {__version__} ({PROTOCOL})"
            )
            self._fail(Unplaced(errno.EOPNOTSUPP, text))
            self._over("")
        elif not self._open.done():
            self._open.set_result(None)

    async def _send_image(self, vm: int) -> None:
        """Where it cannot be read, nothing comes of the line: the other side waits for it."""
        try:
            with self._elf.open("rb") as f:
                await self.send_file((vm, 0), f.fileno(), 0, self._image[1])
        except OSError as e:
            self._fail(Unplaced(e.errno or errno.EIO, f"{self._elf}: {e.strerror}"))
            self._over("")

    def _ping(self) -> None:
        self._silent += 1
        if self._silent > SILENT_BEATS:
            self._over("it says nothing any more")
            return
        if self._open.done():
            self.line.send(Kind.PING)
        self._beat = self._loop.call_later(BEAT_S, self._ping)

    # ---- the end -------------------------------------------------------------------------------------------

    def _over(self, problem: str) -> None:
        """The line has ended, or is to."""
        self.line.close()
        self._beat.cancel()
        if self._ending is None:
            self._ending = self._loop.create_task(self._finish(problem))

    async def _finish(self, problem: str) -> None:
        """Once ssh has said why."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if problem else _LAST_S):
                await self._gone.wait()
        if not self._gone.is_set():
            self._process.kill()
            await self._gone.wait()
        self._fail(_why(self.host.name, self._process.returncode, self._said.text, problem))
        self._said.close()

    def _fail(self, error: Unplaced) -> None:
        if self.lost is None:
            self.lost = error
            if not self._open.done():
                self._open.set_exception(error)
                self._open.exception()  # somebody may have given up waiting
            for _, lose in list(self._receivers.values()):
                lose(error)
            self._receivers.clear()

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._process.wait()
        self._left()

    def _left(self) -> None:
        os.close(self._pidfd)
        self._gone.set()


def _why(name: str, status: int, said: str, problem: str) -> Unplaced:
    """Why a line has ended, from ssh's status and words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = f": {lines[-1]}" if lines else ""
    if problem:
        number = errno.EOPNOTSUPP if problem.startswith("no message") else errno.EHOSTUNREACH
        return Unplaced(number, f"{name}: {problem}{last}")
    if any(word in said for word in ssh.DENIED):
        return Unplaced(errno.EACCES, f"{name} does not let us in{last}")
    if status in (126, 127):
        return Unplaced(errno.EOPNOTSUPP, f"{name} has no floe there{last}; ssh://{name}/path/to/floe names it")
    if status in (ssh.FAILED, -signal.SIGKILL):
        return Unplaced(errno.EHOSTUNREACH, f"{name} is not reached{last}")
    return Unplaced(errno.EOPNOTSUPP, f"{name}: its floe ended with {status}{last}")


class Sessions:
    """All of a family's."""

    def __init__(self, elf: Path, loop: asyncio.AbstractEventLoop, likeness: Callable[[], Mapping[str, str]]) -> None:
        """likeness: what must be the same where a copy is to run (Hypervisor.likeness())."""
        self._elf = elf
        self._loop = loop
        self._likeness = likeness
        self._known: Mapping[str, str] | None = None
        self._sessions: dict[str, Session] = {}

    @property
    def likeness(self) -> Mapping[str, str]:
        """Of this machine. Raises FloeError."""
        if self._known is None:
            self._known = self._likeness()
        return self._known

    async def to(self, host: SshHost) -> Session:
        """The session with a host, opened where there is none. Raises Unplaced."""
        session = self._sessions.get(host.name)
        if session is None or session.spent:
            if session is not None:
                session.give_up()
            self._sessions[host.name] = session = Session(host, self._elf, self._loop)
        session.expected += 1
        try:
            await session.opened()
        except BaseException:
            session.expected -= 1
            raise
        return session

    @property
    def sent(self) -> int:
        """Bytes that went to all hosts."""
        return sum(session.line.sent for session in self._sessions.values())

    def host(self, name: str) -> SshHost:
        """A host of the user's table. Raises Unplaced."""
        try:
            return table.find(name)
        except FloeError as e:
            raise Unplaced(errno.ENOENT, e.message) from None

    def close(self) -> None:
        """End all of them, at once."""
        for session in self._sessions.values():
            session.leave_it()
        end = time.monotonic() + _CLOSE_S
        for session in self._sessions.values():
            session.close(max(0.0, end - time.monotonic()))
        self._sessions.clear()
