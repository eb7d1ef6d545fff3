# SPDX-License-Identifier: MIT
"""Queries by UDP: a socket in the poll loop, which takes what has come and answers each at once."""

import errno
import socket

import _dns
from appliance.loop import IN, Loop

_BATCH = 16  # datagrams that take their time, before others have their turn
_LARGEST = 4096  # bytes of a query; what is longer is cut and then malformed


class Udp:
    """One socket. An answer that cannot be sent now is dropped: the client asks again."""

    udp = True

    def __init__(self, loop: Loop, authority: object, family: int, address: tuple, report: object) -> None:
        self._authority = authority
        self._report = report  # report(exception)
        self.limiter = None
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind(address)
            self.sock.setblocking(False)
        except OSError:
            self.sock.close()
            raise
        loop.watch(self.sock, self, IN)

    def ready(self, events: int) -> None:
        """May raise OSError, EAGAIN when there is no more."""
        authority = self._authority
        count = authority.counts.cell
        for _ in range(_BATCH):
            if self.limiter is None:
                left = _dns.serve(authority.tables, self.sock, authority.counts)
                if left is None:
                    return
                answer = authority.take_apart(left[0], self, left[1])
            else:
                left = self.sock.recvfrom(_LARGEST)
                answer = authority.respond(left[0], self, left[1])
            if answer is None:
                continue
            count(answer, 1)[0] += 1
            if self.limiter is not None:
                answer = self.limiter.check(answer, left[1])
                if answer is None:
                    continue
            self.sock.sendto(answer, left[1])

    def reply(self, answer: bytes, address: tuple) -> None:
        """Send an answer that took its time."""
        self._authority.counts.cell(answer, 1)[0] += 1
        if self.limiter is not None:
            answer = self.limiter.check(answer, address)
        try:
            if answer is not None:
                self.sock.sendto(answer, address)
        except OSError as exc:
            self.failed(exc)

    def failed(self, exc: Exception) -> None:
        if not isinstance(exc, OSError) or exc.errno not in (errno.EAGAIN, errno.EHOSTUNREACH):
            self._report(exc)

    def close(self) -> None:
        self.sock.close()
