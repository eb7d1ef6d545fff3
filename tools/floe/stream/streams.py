# SPDX-License-Identifier: MIT
"""Byte streams from and to a guest, and the relay between its console and this process's standard streams.

stdout carries exactly the guest's bytes. Everything runs as callbacks of the event loop that owns the VM;
nothing here waits. Why a wait ended is one of Matched, TimedOut, Closed.
"""

from __future__ import annotations

import enum
import os
import socket
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from floe.stream.link import Link

if TYPE_CHECKING:
    import asyncio

_CHUNK = 65536
_PIPE_CHUNK = 4096  # PIPE_BUF: a pipe that polls writable takes this much without blocking
_HIGH_WATER = 1 << 18  # bytes for the guest that are queued before more are read
SPOOL = 64 << 20  # bytes of the guest's that wait for their reader; what comes on top is dropped


class Ended(enum.Enum):
    """Why a wait ended."""

    MATCHED = "matched"
    TIMED_OUT = "timed out"
    CLOSED = "closed"


Matched = Ended.MATCHED
TimedOut = Ended.TIMED_OUT
Closed = Ended.CLOSED


class Stream:
    """One connected socket to QEMU: keeps the last `keep` bytes received, sends without waiting. Owns the socket."""

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, changed: Callable[[], None], keep: int
    ) -> None:
        self._link = Link(sock.detach(), loop)
        self._link.on_data = self._arrived
        self._link.on_end = self.close
        self._link.on_room = self._sent
        self._changed = changed
        self._keep = keep
        self._was_full = False
        self._read = 0  # data before this offset was read
        self.data = bytearray()
        self.diverted: bytearray | None = None  # takes what comes instead of `data`, between divert() and undivert()
        self.on_data: Callable[[bytes], None] = lambda data: None
        self.at_line_end: Callable[[], bytes] = lambda: b""  # what is put behind the end of a line
        self.on_room: Callable[[], None] = lambda: None
        self.on_end: Callable[[], None] = lambda: None
        self._link.resume()

    @property
    def closed(self) -> bool:
        """Whether the other side has left, or close() was called."""
        return self._link.closed

    @property
    def text(self) -> str:
        """What was received, as text."""
        return self.data.decode(errors="replace")

    @property
    def full(self) -> bool:
        """Whether more should be sent only after on_room was called."""
        return self._link.queued >= _HIGH_WATER

    def read(self) -> bytes:
        """What came since the last call, as far as it is kept."""
        new = bytes(self.data[self._read :])
        self._read = len(self.data)
        return new

    def divert(self, mark: bytes) -> bool:
        """Whether `mark` came since the last read(): it and all that follows is then kept apart, in `diverted`."""
        at = self.data.find(mark, self._read)
        if at >= 0:
            self.diverted = self.data[at + len(mark) :]
            del self.data[at:]
        return at >= 0

    def undivert(self) -> None:
        """What is still in `diverted` is text again, and so is what comes from now on."""
        rest, self.diverted = self.diverted, None
        if rest:
            self._received(bytes(rest))

    def inject(self, data: bytes) -> None:
        """Take bytes as if the guest had sent them; what is diverted stays the guest's own."""
        self._received(data)
        self._changed()

    def pause(self) -> None:
        """Read no more for now: the guest's bytes wait where they are."""
        self._link.pause()

    def resume(self) -> None:
        """Read on."""
        self._link.resume()

    def send(self, data: bytes) -> None:
        """Send bytes to the guest, or queue them. They are dropped when the stream is closed."""
        self._link.send(data)
        self._was_full = self.full

    def close(self) -> None:
        """Let go of the socket; what was received stays."""
        if not self.closed:
            self._link.close()
            self.on_end()
            self._changed()

    def _arrived(self, data: bytes) -> None:
        if self.diverted is None:
            self._received(data)
        else:
            self.diverted += data
        self._changed()

    def _received(self, data: bytes) -> None:
        if end := data.rfind(b"\n") + 1:
            data = data[:end] + self.at_line_end() + data[end:]
        self.data += data
        if (excess := len(self.data) - self._keep) > 0:
            del self.data[:excess]
            self._read = max(0, self._read - excess)
        self.on_data(data)

    def _sent(self) -> None:
        if self._was_full and not self.full:
            self._was_full = False
            self.on_room()


class Output:
    """A file descriptor that takes bytes as fast as its reader does.

    What the reader has not taken waits in memory: a guest does not wait for longer than a second for anyone to take
    its output. `spool` bytes are kept so; what comes on top is dropped and counted."""

    def __init__(self, fd: int, loop: asyncio.AbstractEventLoop, spool: int = SPOOL) -> None:
        import asyncio

        self._fd = fd
        self._loop = loop
        self._spool = spool
        self._pending = bytearray()
        self._empty = asyncio.Event()
        self._empty.set()
        self.dropped = 0  # bytes
        self.error: OSError | None = None  # why nothing is written any more: the reader has left, the disk is full
        self.on_error: Callable[[], None] = lambda: None

    def put(self, data: bytes) -> None:
        """Write, or queue while the reader is behind."""
        room = self._spool - len(self._pending)
        if self.error is not None or not data:
            return
        self.dropped += max(0, len(data) - room)
        self._pending += data[:room]
        if self._empty.is_set():
            try:
                self._loop.add_writer(self._fd, self._write, _PIPE_CHUNK)
                self._empty.clear()
            except PermissionError:  # a regular file never makes anyone wait
                while self._pending:
                    self._write(len(self._pending))

    async def drain(self) -> None:
        """Wait until everything is written, however long the reader takes; its leaving or discard() ends that."""
        await self._empty.wait()

    def discard(self) -> None:
        """Drop what is queued."""
        self.dropped += len(self._pending)
        self._finish()

    def _finish(self) -> None:
        self._pending.clear()
        if not self._empty.is_set():
            self._loop.remove_writer(self._fd)
            self._empty.set()

    def _write(self, size: int) -> None:
        try:
            del self._pending[: os.write(self._fd, self._pending[:size])]
        except BlockingIOError:
            return
        except OSError as e:
            self.error = e
            self._finish()
            self.on_error()
        if not self._pending:
            self._finish()


class Input:
    """This process's standard input, sent to the guest. Its end does not end the VM."""

    def __init__(
        self, fd: int, loop: asyncio.AbstractEventLoop, sink: Stream, keys: dict[bytes, Callable[[], None]]
    ) -> None:
        """`keys`: single bytes that call a function instead of being sent; for terminals only."""
        self._fd = fd
        self._loop = loop
        self._sink = sink
        self._keys = keys
        self._ended = False
        self._polled = True
        self.on_end: Callable[[], None] = lambda: None  # all that was there has been sent
        sink.on_room = self._start
        self._start()

    def stop(self) -> None:
        """Read no more."""
        self._ended = True
        if self._polled:
            self._loop.remove_reader(self._fd)

    def _start(self) -> None:
        if self._ended:
            return
        try:
            self._loop.add_reader(self._fd, self._readable)
        except PermissionError:  # a regular file or /dev/null: always readable
            self._polled = False
            self._loop.call_soon(self._readable)
        except OSError:  # not open
            self._polled = False
            self._ended = True

    def _readable(self) -> None:
        if self._ended:
            return
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # the terminal is gone
        if not data:
            self.stop()
            self.on_end()
            return
        for key, action in self._keys.items():
            for _ in range(data.count(key)):
                self._loop.call_soon(action)
            data = data.replace(key, b"")
        self._sink.send(data)
        if self._sink.full:
            self._loop.remove_reader(self._fd) if self._polled else None
        elif not self._polled:
            self._loop.call_soon(self._readable)


def is_foreground_terminal(fd: int) -> bool:
    """Whether fd is a terminal that this process may read and set."""
    try:
        return os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False


class RawTerminal:
    """Keys reach the guest one by one and unechoed; the terminal's modes come back on leaving."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved = termios.tcgetattr(fd)

    def __enter__(self) -> Self:
        tty.setraw(self._fd, termios.TCSADRAIN)
        modes = termios.tcgetattr(self._fd)
        modes[1] = self._saved[1]  # output processing stays: a guest may send bare line feeds
        termios.tcsetattr(self._fd, termios.TCSADRAIN, modes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)
