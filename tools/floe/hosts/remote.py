# SPDX-License-Identifier: MIT
"""A copy of a VM that runs on another host, as its family sees it (floe.family.member.Copy)."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from floe.errors import VmError
from floe.family.copies import PrivateDisks, data_areas
from floe.family.member import Copy, Machine, Unplaced
from floe.hosts.line import BrokenLine, Channel, Kind, Message
from floe.hosts.session import Session, Sessions
from floe.hosts.state import StateSender, StateSink
from floe.hosts.table import SshHost
from floe.hosts.tunnel import Tunnel
from floe.spec import handover
from floe.spec.disks import Disk
from floe.spec.ports import Forward
from floe.spec.vmspec import VmSpec

_MOST = 256 << 20  # bytes that disks may hold


class _Ready(msgspec.Struct, frozen=True):
    """What READY says."""

    uuid: str
    forwards: tuple[Forward, ...]


class _Failed(msgspec.Struct, frozen=True):
    """What FAILED says."""

    errno: Annotated[int, msgspec.Meta(ge=1, le=4095)]
    text: str


class Said:
    """A stream of the guest's, as far as it is listened to."""

    def __init__(self) -> None:
        self.on_data: Callable[[bytes], None] = lambda data: None
        self.on_end: Callable[[], None] = lambda: None


class Remote:
    """One VM on another host."""

    def __init__(
        self,
        place: tuple[Sessions, SshHost],
        spec: VmSpec,
        blobs: Sequence[handover.Blob],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.spec = spec
        self.host = place[1].name
        self.ram = -1  # no file of this host
        self.on_channel: Callable[[socket.socket], None] = lambda sock: sock.close()
        self.on_over: Callable[[int], None] = lambda status: None
        self.console = Said()
        self.serial = Said()
        self._sessions, self._where = place
        self._blobs = blobs
        self._loop = loop
        self._session: Session | None = None
        self._vm = 0
        self._channel: socket.socket | None = None  # our end, until the line is there
        self._tunnel: Tunnel | None = None
        self._sending: asyncio.Task[None] | None = None  # of the state
        self._answers: dict[Kind, asyncio.Future[bytes]] = {}  # that are waited for
        self._failed: VmError | None = None
        self._runs = False
        self._sink: StateSink | None = None
        self._over = False
        self._killed = False

    # ---- what a family asks for ----------------------------------------------------------------------------

    def copies(self) -> bool:
        """As its original, whose hypervisor is the same."""
        return True

    def start(self) -> None:
        """Its channel is there; the rest comes with expect_copy()."""
        self._channel, theirs = socket.socketpair()
        self.on_channel(theirs)

    async def expect_copy(self) -> socket.socket:
        """Have a hypervisor started there. Raises VmError."""
        disks = self.spec.disks
        try:
            likeness = await asyncio.to_thread(lambda: dict(self._sessions.likeness))
            session = await self._sessions.to(self._where)
        except OSError as e:
            raise Unplaced(e.errno or errno.EIO, f"{e.filename or self.spec.elf}: {e.strerror}") from None
        try:
            image, size = await session.image()
            if self._killed:
                raise VmError(f"{self.spec.name} was ended")
        except OSError as e:
            session.expected -= 1
            raise Unplaced(e.errno or errno.EIO, f"{e.filename or self.spec.elf}: {e.strerror}") from None
        except BaseException:
            session.expected -= 1
            raise
        self._session = session
        self._vm = session.join(self._hear, self._lose)
        assert self._channel is not None
        self._tunnel = Tunnel(self._channel, session.line, self._loop, (self._vm, Channel.FAMILY))
        self._channel = None
        for blob in self._blobs:
            session.line.send(Kind.BLOB, self._vm, blob.name.encode() + b"\0" + blob.content)
            await session.line.room()
        start = {
            "spec": _travelling(self.spec),
            "image": image,
            "size": size,
            "disks": [_size(disk) for disk in disks],
            "likeness": likeness,
        }
        answer = await self._ask(Kind.START, Kind.READY, msgspec.json.encode(start))
        try:
            told = msgspec.json.decode(answer, type=_Ready)
        except msgspec.MsgspecError as e:
            raise Unplaced(errno.EOPNOTSUPP, f"{self.host}: READY that is none: {e}") from None
        self.spec = replace(self.spec, uuid=told.uuid, forwards=told.forwards)
        sender = StateSender(session.line, self._vm, session.packer, self._loop)
        self._sending = self._loop.create_task(sender.run())
        return sender.entrance

    async def run_copy(self) -> None:
        """Send what its disks hold; once the state is there, let it run. Raises VmError."""
        assert self._sending is not None and self._session is not None
        await self._sending
        for index, disk in enumerate(self.spec.disks):
            with disk.path.open("rb") as f:
                for start, end in data_areas(f.fileno()):
                    await self._session.send_file((self._vm, 1 + index), f.fileno(), start, end)
                    if self._failed is not None:
                        raise self._failed
        await self._ask(Kind.RUN, Kind.RUNNING)
        self._runs = True

    async def send_copy(self, sock: socket.socket, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Have its state sent here, and written to this socket. Raises VmError."""
        await self._ask(Kind.SEND, Kind.STILL)  # behind what is left of a state that nobody waited for
        done = asyncio.Event()
        self._sink = sink = StateSink(sock.dup(), self._loop)
        sink.on_done = done.set
        try:
            await meanwhile()
            await self._ask(Kind.GO, Kind.SENT)
            await done.wait()
        finally:
            sink.close()
            self._sink = None

    @property
    def version(self) -> str:
        """Its original's, or it was not begun; nobody asks."""
        return ""

    async def devices(self) -> bytes:
        """Of the first VM alone, which is here."""
        raise VmError(f"the state of {self.spec.name} is not had from {self.host}")

    def end_at_once(self) -> None:
        """Begin to end it."""
        self._killed = True
        if self._session is None or self._session.lost is not None:
            self._loop.call_soon(self._has_ended, int(signal.SIGKILL))
        else:
            self._session.line.send(Kind.KILL, self._vm)

    # ---- what comes of it ----------------------------------------------------------------------------------

    async def _ask(self, what: Kind, answer: Kind, payload: bytes = b"") -> bytes:
        """Send a message and wait for the one that answers it. Raises VmError."""
        if self._failed is not None:
            raise self._failed
        assert self._session is not None
        self._answers[answer] = future = self._loop.create_future()
        try:
            self._session.line.send(what, self._vm, payload)
            told: bytes = await future
            return told
        finally:
            self._answers.pop(answer, None)

    def _hear(self, message: Message) -> None:
        """Raises BrokenLine."""
        kind = message.kind
        if kind in (Kind.DATA, Kind.TOOK, Kind.END):
            self._hear_stream(message)
        elif kind is Kind.FAILED:
            try:
                told = msgspec.json.decode(message.payload, type=_Failed)
            except msgspec.MsgspecError as e:
                raise BrokenLine(f"FAILED that is none: {e}") from None
            error = Unplaced(told.errno, f"{self.host}: {told.text}")
            self._refuse(error) if self._runs else self._fail(error)  # a VM that runs goes on where a fork of it failed
        elif kind is Kind.OVER:
            status = int.from_bytes(message.payload, "little", signed=True)
            assert self._tunnel is not None
            self._tunnel.on_closed = lambda: self._has_ended(status)
            self._tunnel.end()  # its family first hears all that it has sent
        elif kind in self._answers:
            if not self._answers[kind].done():
                self._answers[kind].set_result(message.payload)
        elif kind not in (Kind.READY, Kind.RUNNING, Kind.STILL, Kind.SENT):  # of a fork that was given up
            raise BrokenLine(f"{kind.name}, which is not the other side's to send")

    def _hear_stream(self, message: Message) -> None:
        assert self._session is not None and self._tunnel is not None
        kind, stream = message.kind, message.stream
        if stream == Channel.FAMILY:
            if kind is Kind.DATA:
                self._tunnel.data(message.payload)
            elif kind is Kind.TOOK:
                self._tunnel.took(int.from_bytes(message.payload, "little"))
            else:
                self._tunnel.end()
        elif stream == Channel.STATE:
            state = self._session.unpacker.unpack(message.payload)
            if self._sink is not None:
                self._sink.data(state) if kind is Kind.DATA else self._sink.end()
        elif stream in (Channel.CONSOLE, Channel.SERIAL):
            said = self.console if stream == Channel.CONSOLE else self.serial
            if kind is Kind.DATA:
                said.on_data(message.payload)
                self._session.line.send(Kind.TOOK, self._vm, len(message.payload).to_bytes(4, "little"), stream)
            else:
                said.on_end()

    def _fail(self, error: VmError) -> None:
        self._failed = self._failed or error
        self._refuse(error)

    def _refuse(self, error: VmError) -> None:
        """What is asked for now."""
        for future in self._answers.values():
            if not future.done():
                future.set_exception(error)

    def _lose(self, error: Unplaced) -> None:
        """The line has ended, and with it the VM."""
        self._fail(error)
        self._has_ended(int(signal.SIGKILL))

    def _has_ended(self, status: int) -> None:
        if self._over:
            return
        self._over = True
        self._fail(VmError(f"{self.spec.name} has ended"))
        if self._session is not None:
            self._session.leave(self._vm)
        if self._sending is not None:
            self._sending.cancel()
        self.console.on_end()
        self.serial.on_end()
        self.on_over(status)
        if self._tunnel is not None:
            self._tunnel.close()
        if self._channel is not None:
            self._channel.close()


class Elsewhere:
    """Makes the copies of a family on other hosts (floe.family.member.Elsewhere)."""

    def __init__(
        self,
        elf: Path,
        blobs: Callable[[], Sequence[handover.Blob]],
        loop: asyncio.AbstractEventLoop,
        likeness: Callable[[], Mapping[str, str]],
    ) -> None:
        self._sessions = Sessions(elf, loop, likeness)
        self._blobs = blobs
        self._loop = loop

    def make(self, host: str, original: Machine, name: str, disks: PrivateDisks) -> Copy:
        """A machine there. Raises Unplaced."""
        if original.spec.capture:
            raise Unplaced(errno.EOPNOTSUPP, "packets are not captured on another host")
        try:
            _check_disks(original.spec.disks)
        except OSError as e:
            raise Unplaced(e.errno or errno.EIO, f"{e.filename}: {e.strerror}") from None
        spec = replace(original.spec, name=name, disks=disks.disks)
        return Remote((self._sessions, self._sessions.host(host)), spec, self._blobs(), self._loop)

    @property
    def sent(self) -> int:
        """Bytes that went to other hosts so far."""
        return self._sessions.sent

    def close(self) -> None:
        """Nothing is made any more, and what runs there ends."""
        self._sessions.close()


def _travelling(spec: VmSpec) -> Any:
    """What the other side needs of it: the guest has its command line, and the paths are this machine's."""
    away = replace(
        spec,
        elf=Path(),
        disks=tuple(replace(disk, path=Path(), size=0) for disk in spec.disks),
        env=(), asked=(), args=(), switches=(), secrets=(), child_secrets=(), env_files=(),
    )  # fmt: skip
    return msgspec.to_builtins(away, enc_hook=str)


def _size(disk: Disk) -> int:
    with disk.path.open("rb") as f:
        return f.seek(0, os.SEEK_END)


def _check_disks(disks: Sequence[Disk]) -> None:
    """Raises Unplaced, OSError."""
    held = 0
    for disk in disks:
        with disk.path.open("rb") as f:
            held += sum(end - start for start, end in data_areas(f.fileno()))
    if held > _MOST:
        raise Unplaced(errno.EFBIG, f"its disks hold {held >> 20} MiB, and {_MOST >> 20} may travel")
