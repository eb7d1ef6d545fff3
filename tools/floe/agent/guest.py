# SPDX-License-Identifier: MIT
"""One VM of the agent's: a copy whose family is at the other end of the line."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from floe import hostmemory
from floe.errors import FloeError, VmError
from floe.family.copies import PrivateDisks
from floe.family.member import Unplaced
from floe.hosts.line import PIECE, BrokenLine, Channel, Kind, Line, Message
from floe.hosts.pages import Packer
from floe.hosts.state import StateSender, StateSink
from floe.hosts.tunnel import WINDOW, Tunnel
from floe.hypervisor import registry
from floe.spec import handover
from floe.spec.vmspec import VmSpec
from floe.stream.streams import Stream
from floe.vm.child import Child, spec_of_copy

_GO_S = 25.0  # an owner that has not said GO by then has given the fork up (family.py), and the guest stands still
_KILLED = 9  # status of waitpid() where nothing was started


class Start(msgspec.Struct, frozen=True):
    """What START says."""

    spec: Any
    image: str
    size: int
    disks: list[int]
    likeness: dict[str, str]


FindImage = Callable[[Start, int], Awaitable[Path]]  # of the VM with this number


class Guest:
    """One VM, from START to OVER."""

    def __init__(self, vm: int, line: Line, packer: Packer, loop: asyncio.AbstractEventLoop) -> None:
        self.vm = vm
        self.over = False
        self.on_over: Callable[[], None] = lambda: None
        self._line = line
        self._packer = packer
        self._loop = loop
        self._blobs: list[handover.Blob] = []
        self._disks = PrivateDisks(())
        self._child: Child | None = None
        self._tunnel: Tunnel | None = None
        self._sink: StateSink | None = None
        self._voices: dict[int, _Voice] = {}
        self._go = asyncio.Event()
        self._doing: set[asyncio.Task[None]] = set()

    def hear(self, message: Message, state: bytes, image: FindImage) -> None:
        """A message for it; `state`: what DATA of its state holds. Raises BrokenLine."""
        kind = message.kind
        if kind is Kind.BLOB:
            name, _, content = message.payload.partition(b"\0")
            self._blobs.append(handover.Blob(name.decode(), content))
        elif kind is Kind.START:
            try:
                start = msgspec.json.decode(message.payload, type=Start)
                spec = msgspec.convert(start.spec, VmSpec, dec_hook=lambda kind, text: kind(text))
            except (msgspec.MsgspecError, TypeError) as e:
                raise BrokenLine(f"START that is none: {e}") from None
            self._do(self._start(start, spec, image))
        elif kind is Kind.FILE:
            self._write(message)
        elif kind is Kind.RUN:
            self._do(self._run())
        elif kind is Kind.SEND:
            self._do(self._send())
        elif kind is Kind.GO:
            self._go.set()
        elif kind is Kind.KILL:
            self.end()
        elif kind in (Kind.DATA, Kind.TOOK, Kind.END):
            self._hear_stream(message, state)
        else:
            raise BrokenLine(f"{kind.name}, which is not the owner's to send")

    def end(self) -> None:
        """Begin to end it."""
        if self._child is not None:
            self._child.end_at_once()
        else:
            self._ended(_KILLED)

    # ---- what is asked of it -------------------------------------------------------------------------------

    def _do(self, work: Any) -> None:
        task = self._loop.create_task(self._done(work))
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    async def _done(self, work: Awaitable[None]) -> None:
        """Tell why it failed, where it does."""
        try:
            await work
        except Unplaced as e:
            self._failed(e.number, e.message)
        except FloeError as e:
            self._failed(errno.EAGAIN, e.message)
        except OSError as e:
            self._failed(e.errno or errno.EIO, f"{e.filename}: {e.strerror}" if e.filename else str(e.strerror))

    def _failed(self, number: int, text: str) -> None:
        self._line.send(Kind.FAILED, self.vm, msgspec.json.encode({"errno": number, "text": text}))

    async def _start(self, start: Start, spec: VmSpec, image: FindImage) -> None:
        _compare(start.likeness, registry.create(spec.hypervisor).likeness(spec.accel))
        elf = await image(start, self.vm)
        if not hostmemory.has_room(spec.memory):
            raise Unplaced(errno.EAGAIN, "no memory is left there")
        self._disks = PrivateDisks.blank(spec.disks, start.disks)
        own = spec_of_copy(replace(spec, elf=elf), spec.name, self._disks)
        child = Child(own, self._loop, self._blobs, self._disks)
        child.on_channel = self._join
        child.on_over = self._ended
        child.start()
        self._child = child
        self._voices[Channel.CONSOLE] = _Voice(self._line, (self.vm, Channel.CONSOLE), child.console)
        self._voices[Channel.SERIAL] = _Voice(self._line, (self.vm, Channel.SERIAL), child.serial)
        self._sink = StateSink(await child.expect_copy(), self._loop)
        told = {"uuid": own.uuid, "forwards": [asdict(forward) for forward in own.forwards], "pid": child.pid}
        self._line.send(Kind.READY, self.vm, msgspec.json.encode(told))

    def _join(self, sock: socket.socket) -> None:
        self._tunnel = Tunnel(sock, self._line, self._loop, (self.vm, Channel.FAMILY))

    async def _run(self) -> None:
        assert self._child is not None
        await self._child.run_copy()
        self._line.send(Kind.RUNNING, self.vm)

    async def _send(self) -> None:
        assert self._child is not None
        sender = StateSender(self._line, self.vm, self._packer, self._loop)
        sending = self._loop.create_task(sender.run())

        async def meanwhile() -> None:
            self._line.send(Kind.STILL, self.vm)
            try:
                async with asyncio.timeout(_GO_S):
                    await self._go.wait()
            except TimeoutError:
                raise VmError("its state was not asked for in time") from None

        self._go.clear()
        try:
            with sender.entrance as sock:
                await self._child.send_copy(sock, meanwhile)
        finally:
            await sending
        self._line.send(Kind.SENT, self.vm)

    def _write(self, message: Message) -> None:
        offset, data = int.from_bytes(message.payload[:8], "little"), message.payload[8:]
        index = message.stream - 1
        if not 0 <= index < len(self._disks.fds):
            return  # they are gone: it has failed
        try:
            while data:
                done = os.pwrite(self._disks.fds[index], data, offset)
                data, offset = data[done:], offset + done
        except OSError as e:
            self._failed(e.errno or errno.EIO, f"its disks: {e.strerror}")

    def _hear_stream(self, message: Message, state: bytes) -> None:
        kind, stream = message.kind, message.stream
        count = int.from_bytes(message.payload, "little") if kind is Kind.TOOK else 0
        if stream == Channel.STATE and self._sink is not None:
            self._sink.data(state) if kind is Kind.DATA else self._sink.end()
        elif stream == Channel.FAMILY and self._tunnel is not None:
            if kind is Kind.DATA:
                self._tunnel.data(message.payload)
            elif kind is Kind.TOOK:
                self._tunnel.took(count)
            else:
                self._tunnel.end()
        elif stream in self._voices and kind is Kind.TOOK:
            self._voices[stream].took(count)

    # ---- its end -------------------------------------------------------------------------------------------

    def _ended(self, status: int) -> None:
        if self.over:
            return
        self.over = True
        if self._tunnel is not None:
            self._tunnel.finish()
        for task in self._doing:
            task.cancel()
        if self._sink is not None:
            self._sink.close()
        self._disks.close()
        self._line.send(Kind.OVER, self.vm, status.to_bytes(4, "little", signed=True))
        self.on_over()


class _Voice:
    """A stream of the guest's, sent as fast as it is taken at the other end."""

    def __init__(self, line: Line, place: tuple[int, int], stream: Stream) -> None:
        self._line = line
        self._place = place
        self._stream = stream
        self._under_way = 0
        stream.on_data = self._said
        stream.on_end = lambda: line.send(Kind.END, place[0], b"", place[1])

    def took(self, count: int) -> None:
        """The other side has shown so much."""
        self._under_way -= count
        if self._under_way < WINDOW:
            self._stream.resume()

    def _said(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE):
            self._line.send(Kind.DATA, self._place[0], data[at : at + PIECE], self._place[1])
        self._under_way += len(data)
        if self._under_way >= WINDOW:
            self._stream.pause()


def _compare(theirs: dict[str, str], ours: dict[str, str]) -> None:
    """Raises Unplaced for what would not run here as it did there."""
    for what in sorted({*theirs, *ours}):
        if theirs.get(what) != ours.get(what):
            text = f"{what} {ours.get(what, 'is not')} there, {theirs.get(what, 'is not')} here"
            raise Unplaced(errno.EOPNOTSUPP, text)
