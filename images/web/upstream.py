# SPDX-License-Identifier: MIT
"""A server behind the proxy, and the connections to it, which the poll loop calls when they are ready.

Whoever uses a connection has arrived(data), flushed() and lost(). Which server takes a request: balance.py.
"""

import errno
import select
import socket
import time

_IN = select.POLLIN
_OUT = select.POLLOUT
_BROKEN = select.POLLERR | select.POLLHUP
_RECEIVE = 4096  # bytes at once
LARGE = 32768  # and of an answer that is long


class Upstream:
    """One address. Counts, and says what it may be asked for."""

    def __init__(self, name: str, family: int, address: object, origin: str) -> None:
        self.name = name
        self.family = family
        self.address = address
        self.origin = origin  # what it was given as: another name if that was to be resolved
        self.idle: list = []  # connections that nobody uses, the latest used last
        self.users: dict = {}  # id -> user of a connection
        self.draining = False  # no new requests
        self.vanished = False  # its name leads elsewhere by now
        self.fails = 0  # in a row
        self.down_until = 0  # ticks_ms; until then it is asked only if there is no other
        self.is_down = False
        self.healthy = True  # as the checks say
        self.streak = 0  # of checks that said otherwise
        self.check_at = 0  # ticks_ms
        self.checking = False
        self.requests = self.failures = self.retries = self.connections = 0

    def take_link(self, events: object, user: object, fresh: bool) -> "Link":
        """An idle connection, or a new one. Raises OSError."""
        link = self.idle.pop() if self.idle and not fresh else Link(self, events)
        link.user = user
        self.users[id(user)] = user
        return link

    def failed(self, max_fails: int, down_ms: int) -> None:
        self.failures += 1
        self.fails += 1
        if max_fails and self.fails >= max_fails:
            self.is_down = True
            self.down_until = time.ticks_add(time.ticks_ms(), down_ms)
            self.close_idle()

    def worked(self) -> None:
        self.fails = 0
        self.is_down = False

    def close_idle(self) -> None:
        while self.idle:
            self.idle[-1].close()


class Link:
    """A connection to an upstream. Owns its socket; its user has it until release() or close()."""

    def __init__(self, upstream: Upstream, events: object) -> None:
        self.upstream = upstream
        self.events = events
        self.user: object = None
        self.reused = False
        self.connecting = True
        self.reading = True  # what arrives is wanted
        self.size = _RECEIVE
        self.since = 0  # ticks_ms when it became idle
        self.out: list = []
        self._mask = 0
        self.sock = socket.socket(upstream.family, socket.SOCK_STREAM)
        try:
            self.sock.setblocking(False)
            if hasattr(socket, "TCP_NODELAY"):
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self.sock.connect(upstream.address)
            except OSError as exc:
                if exc.errno != errno.EINPROGRESS:
                    raise
            upstream.connections += 1
            self._watch()
        except OSError:
            self.sock.close()
            raise

    def _watch(self) -> None:
        mask = _OUT if self.connecting or self.out else 0
        if self.reading and not self.connecting:
            mask |= _IN
        if mask != self._mask:
            self._mask = mask
            if mask:
                self.events.watch(self.sock, self, mask)
            else:
                self.events.unwatch(self.sock)

    def send(self, piece: bytes) -> None:
        """May raise OSError. What does not leave at once waits; flushed() tells when it has left."""
        if not self.out and not self.connecting:
            sent = self.sock.write(piece) or 0
            if sent == len(piece):
                return
            piece = memoryview(piece)[sent:]
        self.out.append(piece)
        self._watch()

    def pause(self) -> None:
        self.reading = False
        self._watch()

    def resume(self) -> None:
        self.reading = True
        self._watch()

    def ready(self, events: int) -> None:
        """The socket is ready. May raise OSError."""
        if events & _BROKEN and (self.connecting or not events & _IN):
            self._end()
            return
        self.connecting = False
        if events & _OUT:
            self._flush()
        if events & _IN and self.sock is not None:
            data = self.sock.recv(self.size)
            if data and self.user is not None:
                self.user.arrived(data)
            else:  # an end; or an answer to nothing
                self._end()

    def _flush(self) -> None:
        while self.out:
            piece = self.out[0]
            sent = self.sock.write(piece) or 0
            if sent < len(piece):
                self.out[0] = memoryview(piece)[sent:]
                break
            self.out.pop(0)
        self._watch()
        if not self.out and self.user is not None:
            self.user.flushed()

    def failed(self, exc: Exception) -> None:
        """Something raised on behalf of this connection."""
        if not isinstance(exc, OSError):
            self.events.report(exc)
        elif exc.errno == errno.EAGAIN:
            return
        self._end()

    def _end(self) -> None:
        user = self.user
        if user is None:
            self.close()
        else:
            user.lost()

    def release(self, limit: int) -> None:
        """Its user is done with it and it may serve another one; at most `limit` wait for that."""
        upstream = self.upstream
        if upstream.draining or upstream.is_down or self.out or len(upstream.idle) >= limit or self.sock is None:
            self.close()
            return
        upstream.users.pop(id(self.user), None)
        self.user = None
        self.reused = True
        self.size = _RECEIVE
        self.since = time.ticks_ms()
        if not self.reading:
            self.resume()
        upstream.idle.append(self)

    def close(self) -> None:
        if self.sock is not None:
            self._forget_user()
            self.events.unwatch(self.sock)
            self.sock.close()
            self.sock = None
            self.out = []
            if self in self.upstream.idle:
                self.upstream.idle.remove(self)

    def _forget_user(self) -> None:
        if self.user is not None:
            self.upstream.users.pop(id(self.user), None)
            self.user = None
