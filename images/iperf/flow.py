# SPDX-License-Identifier: MIT
"""One stream of a measurement: sends or receives as fast as it may, and counts. The data itself is nobody's: all
flows share one buffer to send from and one to receive into.

A task per flow; what it does between two waits is a plain loop over readinto() or write().
"""

import asyncio
import errno
import socket
import time
from asyncio import core

BLOCK = 131072  # bytes of the buffers, and of the longest piece
_TURN = 8  # pieces before others have their turn
_BURST = 16  # datagrams, likewise
_NOT_NOW = (errno.EAGAIN, errno.ENOMEM, 105)  # of a datagram that cannot be sent; 105: ENOBUFS

_sink = memoryview(bytearray(BLOCK))
_source = memoryview(bytes(range(256)) * (BLOCK // 256))


class Flow:
    """Owns its socket. `sending` is seen from here; `limit`: bytes to send at most, `rate`: bits a second; 0: none."""

    def __init__(self, number: int, sock: object, sending: bool, form: object = None) -> None:
        self.number = number
        self.sock = sock
        self.sending = sending
        self.form = form  # of datagrams: datagram.py; None: TCP
        self.limit = 0
        self.rate = 0
        self.bytes = 0
        self.error: object = None  # OSError that ended it
        self.ended = asyncio.Event()
        self._task: object = None
        sock.setblocking(False)

    def start(self) -> None:
        if self.form is not None:
            work = self._send_datagrams() if self.sending else self._receive_datagrams()
        elif not self.sending:
            work = self._receive()
        else:
            work = self._send_paced() if self.rate else self._send()
        self._task = asyncio.create_task(self._run(work))

    def stop(self) -> None:
        """No byte is counted after this; the socket stays."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        self.stop()
        self.sock.close()

    def forget(self) -> None:
        """What was counted so far does not count: the time to omit is over."""
        self.bytes = 0
        if self.form is not None:
            self.form.forget()

    async def _run(self, work: object) -> None:
        try:
            await work
        except OSError as exc:
            self.error = exc
        finally:
            self.ended.set()

    # ---- TCP ----------------------------------------------------------------------------------

    async def _receive(self) -> None:
        sock, readinto, wait = self.sock, self.sock.readinto, core._io_queue.queue_read
        size = None
        while size != 0:
            yield wait(sock)
            for _ in range(_TURN):
                size = readinto(_sink)
                if not size:
                    break
                self.bytes += size

    async def _send(self) -> None:
        sock, write, wait = self.sock, self.sock.write, core._io_queue.queue_write
        piece = _source
        while True:
            yield wait(sock)
            for _ in range(_TURN):
                if self.limit:
                    piece = _source[: min(BLOCK, self.limit - self.bytes)]
                    if not len(piece):
                        return
                size = write(piece)
                if not size:
                    break
                self.bytes += size

    async def _send_paced(self) -> None:
        """Pieces of a twentieth of a second."""
        largest = max(1, min(BLOCK, self.rate // 160))
        pace = Pace(self.rate)
        while not self.limit or self.bytes < self.limit:
            left = pace.wait_ms()
            if left:
                await asyncio.sleep_ms(left)
                continue
            piece = _source[: min(largest, self.limit - self.bytes)] if self.limit else _source[:largest]
            yield core._io_queue.queue_write(self.sock)
            size = self.sock.write(piece) or 0
            self.bytes += size
            pace.sent += size

    # ---- UDP ----------------------------------------------------------------------------------

    async def _receive_datagrams(self) -> None:
        sock, readinto, wait = self.sock, self.sock.readinto, core._io_queue.queue_read
        form = self.form
        place = _sink[: form.size]  # readinto() fills what it is given: a datagram and not a byte more
        while not form.over:
            yield wait(sock)
            for _ in range(_BURST):
                size = readinto(place)
                if not size:
                    break
                if form.arrived(place):
                    self.bytes += size

    async def _send_datagrams(self) -> None:
        send, form = self.sock.send, self.form
        datagram = memoryview(bytearray(form.size))
        form.prepare(datagram)
        pace = Pace(self.rate)
        while not self.limit or self.bytes < self.limit:
            wait = pace.wait_ms()
            try:
                for _ in range(0 if wait else _BURST):
                    form.stamp(datagram)
                    send(datagram)
                    form.packets += 1
                    self.bytes += form.size
                    pace.sent += form.size
                    if self.rate and pace.wait_ms():
                        break
            except OSError as exc:
                if exc.errno not in _NOT_NOW:
                    raise
                wait = 1
            await asyncio.sleep_ms(wait)


class Pace:
    """How far a sender is ahead of its rate in bits a second; 0: never."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.sent = 0
        self._began = time.ticks_us()

    def wait_ms(self) -> int:
        if not self.rate:
            return 0
        ahead_us = self.sent * 8000000 // self.rate - time.ticks_diff(time.ticks_us(), self._began)
        return ahead_us // 1000 + 1 if ahead_us > 0 else 0


def udp_socket(family: int, port: int, peer: object = None) -> socket.socket:
    """A socket bound to a port (0: any), which hears only this peer if there is one."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        anyone = "::" if family == socket.AF_INET6 else "0.0.0.0"
        sock.bind(socket.getaddrinfo(anyone, port, family, socket.SOCK_DGRAM)[0][-1])
        if peer is not None:
            sock.connect(peer)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
