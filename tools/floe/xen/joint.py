# SPDX-License-Identifier: MIT
"""One of a guest's streams, by way of a script in dom0, joined with the wire of whoever owns the VM."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Set

from floe.xen.wire import HIGH_WATER, Wire

_CHUNK = 1 << 16


class Joint:
    """Bytes go both ways, at the pace of the slower side. The script reads a first line: which stream it is."""

    def __init__(self, sock: socket.socket, wire: Wire) -> None:
        sock.setblocking(False)
        self.received = 0  # bytes of the guest's
        self.last_byte = 0.0  # when the last of them came
        self._sock: socket.socket | None = sock
        self._wire = wire
        self._to_guest = bytearray()
        self._told = False  # the script knows which stream

    def tell(self, line: str) -> None:
        """The script's first line."""
        self._to_guest[:0] = line.encode() + b"\n"
        self._told = True

    @property
    def closed(self) -> bool:
        """Whether nothing comes from the guest any more."""
        return self._sock is None

    @property
    def room(self) -> bool:
        """Whether more may be taken from the owner."""
        return len(self._to_guest) < HIGH_WATER

    def put(self, data: bytes) -> None:
        """What the owner says."""
        self._to_guest += data

    def register(self, poll: select.poll) -> None:
        """Ask for what can be moved between dom0 and here."""
        if self._sock is not None:
            wanted = select.POLLIN if self._wire.room else 0
            wanted |= select.POLLOUT if self._to_guest and self._told else 0
            if wanted:  # else an end would be told again and again
                poll.register(self._sock, wanted)

    def turn(self, ready: Set[int]) -> None:
        """Move it. ready: descriptors that poll() named."""
        if self._sock is None or self._sock.fileno() not in ready:
            return
        if self._told:
            send(self._sock, self._to_guest)
        data = receive(self._sock) if self._wire.room else None
        if data == b"":
            self.close()
        elif data:
            self.received += len(data)
            self.last_byte = time.monotonic()
            self._wire.put(data)

    def close(self) -> None:
        """Let go of the script. A second time does nothing."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def send(sock: socket.socket, data: bytearray) -> None:
    """As much as goes without waiting."""
    if data:
        try:
            del data[: sock.send(data[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:  # it has ended; receive() says so
            data.clear()


def receive(sock: socket.socket) -> bytes | None:
    """b"": it has ended. None: nothing now."""
    try:
        return sock.recv(_CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""
