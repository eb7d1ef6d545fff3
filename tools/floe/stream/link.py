# SPDX-License-Identifier: MIT
"""A descriptor in the event loop: bytes come by callback, bytes to send are queued. Nothing here waits."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_CHUNK = 1 << 18
_READS = 16  # in a row, while they are short ones
_SMALL = 4096


def _nothing() -> None:
    pass


def _ignore(data: bytes) -> None:
    pass


class Link:
    """One connected socket, or the master of a pty. Owns the descriptor."""

    def __init__(self, fd: int, loop: asyncio.AbstractEventLoop) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._loop = loop
        self._outgoing = bytearray()
        self._reading = False
        self.closed = False
        self.taken = 0  # bytes that the other side has accepted so far
        self.on_data: Callable[[bytes], None] = _ignore
        self.on_end: Callable[[], None] = _nothing  # the other side has left; all it sent was delivered
        self.on_room: Callable[[], None] = _nothing  # something that was queued is sent

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._outgoing)

    @property
    def hung_up(self) -> bool:
        """The other side has left; what it sent before may still be there to read."""
        if self.closed:
            return False
        poll = select.poll()
        poll.register(self.fd, select.POLLRDHUP)
        return bool(poll.poll(0))

    def resume(self) -> None:
        """Read."""
        if not self._reading and not self.closed:
            self._reading = True
            self._loop.add_reader(self.fd, self._readable)

    def pause(self) -> None:
        """Do not read; the other side's bytes wait in its kernel buffer."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self.fd)

    def send(self, data: bytes) -> None:
        """Send now what can be, queue the rest."""
        if self.closed or not data:
            return
        if self._outgoing:
            self._outgoing += data
            return
        done = self._write(data)
        if done < len(data):
            self._outgoing += memoryview(data)[done:]
            self._loop.add_writer(self.fd, self._writable)

    def discard(self) -> int:
        """Drop what is queued; how many bytes that was."""
        dropped = len(self._outgoing)
        if dropped:
            self._outgoing.clear()
            self._loop.remove_writer(self.fd)
        return dropped

    def read_now(self) -> bool:
        """Deliver what is there already. True: the other side has left."""
        while not self.closed:
            try:
                data = os.read(self.fd, _CHUNK)
            except BlockingIOError:
                return False
            except OSError:
                return True
            if not data:
                return True
            self.on_data(data)
        return True

    def close(self) -> None:
        """Let go of the descriptor."""
        if not self.closed:
            self.pause()
            self.discard()
            self.closed = True
            os.close(self.fd)

    def release(self) -> None:
        """As close(), but the descriptor stays open: it is the caller's."""
        self.pause()
        self.discard()
        self.closed = True

    def _write(self, data: bytes | bytearray) -> int:
        try:
            done = os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # the other side has left: reading says so, after what it sent
        self.taken += done
        return done

    def _writable(self) -> None:
        del self._outgoing[: self._write(self._outgoing)]
        if not self._outgoing:
            self._loop.remove_writer(self.fd)
        self.on_room()

    def _readable(self) -> None:
        for _ in range(_READS):  # a pty gives 4 KiB at a time
            try:
                data = os.read(self.fd, _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""  # reset by the other side, or the pty's slave is closed
            if not data:
                self.pause()
                self.on_end()
                return
            self.on_data(data)
            if len(data) > _SMALL or not self._reading:
                return
