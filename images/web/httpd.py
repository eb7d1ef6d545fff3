# SPDX-License-Identifier: MIT
"""An HTTP/1.1 server on asyncio: listening, limits, the clock, graceful stop.

    server = Server(handler)    # handler(request) -> Response, or a coroutine that returns one
    server.start(80)
    ...
    await server.stop(5)        # refuse new connections, finish requests in flight, at most 5 s

A connection costs no task: the poll loop calls it when its socket is ready. Not here: what happens on
one connection (connection.py), the bytes of HTTP (http1.py), files and routes (pages.py).
"""

import asyncio
import errno
import select
import socket
import sys
import time
from asyncio import core

from connection import Connection
from message import HttpError, Pending, Prepared, Response, date_line

_IN = select.POLLIN
_MEMO_HEADS = 128  # request heads remembered
_MEMO_SIZE = 1024  # bytes of the longest one
_TELL_S = 10  # at least between two lines that tell of no memory


class Limits:
    """What one client may cost. Times in seconds, sizes in bytes."""

    def __init__(self) -> None:
        self.connections = 512
        self.per_address = 0  # connections of one address, or of an IPv6 network of 64 bits; 0: three quarters of all
        self.body = 65536
        self.idle_s = 15  # kept alive without a request
        self.head_s = 10  # from the first byte of a request to its last header line
        self.body_s = 30  # from there to the end of its body
        self.write_s = 30  # until the answers have left, plus a second for each 16 KiB
        self.linger_s = 2  # reading on after a refusal, so that the client sees it


class EventQueue(core.IOQueue):
    """asyncio's poll loop, and beside its tasks objects whose ready(events) it calls directly.

    A task per connection would register, wake and unregister its socket for every request.
    """

    def __init__(self, previous: core.IOQueue) -> None:
        self.poller = previous.poller
        self.map = previous.map
        self.watched: dict = {}
        self.starved = 0  # times that there was no memory for what is no server's; their clocks take it over

    def watch(self, sock: socket.socket, target: object, events: int) -> None:
        self.watched[id(sock)] = target
        self.poller.register(sock, events)

    def unwatch(self, sock: socket.socket) -> None:
        if self.watched.pop(id(sock), None) is not None:
            self.poller.unregister(sock)

    def report(self, exc: Exception) -> None:
        """What failed for a target, if that cannot tell anybody."""
        if isinstance(exc, MemoryError):
            self.starved += 1
        else:
            sys.print_exception(exc)

    def wait_io_event(self, dt: int) -> None:
        watched = self.watched
        target = None
        core.cur_task = None  # what a target does is done by no task, so it may cancel any
        try:
            for sock, events in self.poller.ipoll(dt):
                target = watched.get(id(sock))
                if target is None:
                    self._wake(sock, events)
                else:
                    target.ready(events)
        except Exception as exc:  # a failure of one connection stays its own
            if target is None:
                raise
            try:
                target.failed(exc)
            except Exception as another:
                self.report(another)

    def _wake(self, sock: object, events: int) -> None:
        """Make the tasks runnable that wait for these events."""
        waiting = self.map.get(id(sock))
        if waiting is None:
            return
        for side, other in ((0, select.POLLOUT), (1, _IN)):
            if waiting[side] is not None and events & ~other:
                core._task_queue.push(waiting[side])
                waiting[side] = None
        if waiting[0] is None and waiting[1] is None:
            self._dequeue(sock)
        else:
            self.poller.modify(sock, select.POLLOUT if waiting[0] is None else _IN)


def _holder_of(address: object) -> bytes:
    """Who is behind an address: an IPv4 address, or the network an IPv6 one is in, of which a client has all."""
    if isinstance(address, bytearray):  # MicroPython as a Linux process packs it
        raw = socket.sockaddr(address)[1]
    elif ":" in address[0]:
        raw = socket.inet_pton(socket.AF_INET6, address[0].partition("%")[0])
    else:
        return address[0].encode()
    return raw[12:] if raw[:12] == bytes(10) + b"\xff\xff" else raw[:8]


class _Listener:
    """A listening socket in the poll loop; paused while the server is full."""

    def __init__(self, server: "Server", family: int, address: object) -> None:
        self.server = server
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind(address)
            self.sock.listen(min(255, server.limits.connections))
            self.sock.setblocking(False)
            self.resume()
        except OSError:
            self.sock.close()
            raise

    def resume(self) -> None:
        self.server.events.watch(self.sock, self, _IN)

    def ready(self, events: int) -> None:
        server = self.server
        full = len(server.connections) >= server.limits.connections
        if full and not server.make_room(server.greatest_holder()):
            server.events.unwatch(self.sock)
            return
        sock, address = self.sock.accept()
        holder = _holder_of(address)
        if server.holders.get(holder, 0) >= server.holder_limit() and not server.make_room(holder):
            sock.close()
            return
        try:
            sock.setblocking(False)
            if server.nodelay is not None:
                sock.setsockopt(server.nodelay[0], server.nodelay[1], 1)
            if server.context is not None:
                sock = server.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            connection = server.kind(server, sock, holder)
            connection.peer = address[0] if isinstance(address, tuple) else ""
            server.holders[holder] = server.holders.get(holder, 0) + 1
        except Exception:  # no memory for it
            sock.close()
            raise

    def failed(self, exc: Exception) -> None:
        if not isinstance(exc, OSError) or exc.errno != errno.EAGAIN:
            self.server.events.unwatch(self.sock)  # out of memory or sockets: the clock tries again

    def close(self) -> None:
        self.server.events.unwatch(self.sock)
        self.sock.close()


class Server:
    """Owns its listeners and connections. context: an ssl.SSLContext, for TLS.

    handler: called with each Request, returns a Response, a coroutine that does, or a Pending. Has it a method
    streams(head), that says which requests it gets before their body has arrived.
    """

    def __init__(self, handler: object, limits: Limits | None = None, context: object = None) -> None:
        self.handler = handler
        self.streams = getattr(handler, "streams", None)
        self.kind = Connection
        self.context = context
        self.limits = limits or Limits()
        self.connections: dict = {}  # id(connection) -> Connection
        self.holders: dict = {}  # address -> number of its connections
        self.fixed: dict = {}  # request head as received -> Prepared answer
        self.alike: dict = {}  # key of many heads (_http.key) -> Prepared answer
        self.heads: dict = {}  # request head as received -> Head
        self.served = 0  # requests answered; fold() adds those that were from memory
        self.prepared: list = []  # Prepared answers that are remembered
        self.forgets = False  # each request is given to the handler
        self.note: object = None  # note(connection, head, answer) is told of each answer that is not from memory
        self.accepted = 0  # connections
        self.tick = 0  # seconds since start
        self.date = b""  # the Date line of this second; empty without a clock
        self.stopping = False
        self.starved = 0  # times that there was no memory, and the clock has not told it
        self.nodelay = None
        self._listeners: list = []
        self._clock: object = None
        self._sorry: Response | None = None  # for who finds no memory: the clock makes it while there is some

    def start(self, port: int) -> list:
        """Listen on every address family there is. Returns their names. Raises OSError if there is none."""
        if hasattr(socket, "TCP_NODELAY"):
            self.nodelay = (socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if not isinstance(core._io_queue, EventQueue):
            core._io_queue = EventQueue(core._io_queue)
        self.events = core._io_queue
        names = []
        for name, family, host in (("IPv6", "AF_INET6", "::"), ("IPv4", "AF_INET", "0.0.0.0")):
            try:
                number = getattr(socket, family)
                address = socket.getaddrinfo(host, port, number, socket.SOCK_STREAM)[0][-1]
                self._listeners.append(_Listener(self, number, address))
                names.append(name)
            except (AttributeError, OSError) as exc:  # no such family, or the other one serves it too
                if name == "IPv4" and not names:
                    raise exc
        self._set_date()
        self._clock = asyncio.create_task(self._run_clock())
        return names

    async def stop(self, deadline_s: int) -> int:
        """Stop accepting, let requests in flight finish. Returns how many connections had to be cut."""
        self.stopping = True
        self.forget()
        while self._listeners:
            self._listeners.pop().close()
        for connection in list(self.connections.values()):
            connection.stop()
        start = time.ticks_ms()
        while self.connections and time.ticks_diff(time.ticks_ms(), start) < deadline_s * 1000:
            await asyncio.sleep_ms(10)
        cut = list(self.connections.values())
        for connection in cut:
            connection.close()
        if self._clock is not None:
            self._clock.cancel()
        return len(cut)

    def holder_limit(self) -> int:
        limits = self.limits
        return limits.per_address or max(1, limits.connections * 3 // 4)

    def greatest_holder(self) -> bytes:
        """The address with the most connections."""
        return max(self.holders, key=self.holders.get)

    def make_room(self, holder: bytes) -> bool:
        """Close the connection of this address that has waited longest for its client. False: none waits."""
        oldest = None
        for connection in self.connections.values():
            if connection.holder != holder or not connection.waits():
                continue
            if oldest is None or connection.age_key() < oldest.age_key():
                oldest = connection
        if oldest is None:
            return False
        oldest.close()
        return True

    def removed(self, connection: Connection) -> None:
        """A connection has closed: there is room for another."""
        self.connections.pop(id(connection), None)
        left = self.holders.get(connection.holder, 0) - 1
        if left > 0:
            self.holders[connection.holder] = left
        else:
            self.holders.pop(connection.holder, None)
        if len(self.connections) == self.limits.connections - 1:
            for listener in self._listeners:
                listener.resume()

    def call(self, request: object) -> object:
        """The handler's answer, or a coroutine that will return it. Never raises Exception."""
        try:
            answer = self.handler(request)
            if not isinstance(answer, (Response, Pending)) and not hasattr(answer, "send"):
                raise TypeError("the handler returned no Response")
            return answer
        except Exception as exc:
            return self.error_answer(exc)

    def remember(self, memo: dict, key: bytes | None, value: object, most: int = _MEMO_HEADS) -> None:
        """Keep what a request head came to, so that the same bytes need no parsing again."""
        if key is not None and len(key) <= _MEMO_SIZE and not (self.stopping or self.forgets):
            if len(memo) >= most:
                memo.clear()
                if memo is not self.heads:
                    self._let_go()
            memo[key] = value
            if isinstance(value, Prepared) and not value.is_remembered:
                value.is_remembered = True
                self.prepared.append(value)

    def forget(self) -> None:
        """All answers that are remembered."""
        self.fixed.clear()
        self.alike.clear()
        self._let_go()

    def _let_go(self) -> None:
        """Of the answers that no head leads to any more."""
        self.fold()
        for answer in self.prepared:
            answer.is_remembered = False
        self.prepared = []
        for memo in (self.fixed, self.alike):
            for answer in memo.values():
                if not answer.is_remembered:
                    answer.is_remembered = True
                    self.prepared.append(answer)

    def fold(self) -> None:
        """Count what was answered from memory since the last time."""
        for answer in self.prepared:
            hits, answer.hits = answer.hits, 0
            self.served += hits
            if hits and self.note is not None:
                self.note.add_hits(answer, hits)

    def error_answer(self, exc: Exception) -> Response:
        if isinstance(exc, HttpError):
            return exc.answer()
        self.events.report(exc)
        if isinstance(exc, MemoryError):
            return self._sorry or HttpError(503).answer()
        return HttpError(500).answer()

    def _set_date(self) -> None:
        now = time.time()
        # A host without a wall clock: better no Date than a wrong one (RFC 9110, section 6.6.1).
        self.date = date_line(time.gmtime(now)) if now > 1_600_000_000 else b""

    async def _run_clock(self) -> None:
        rest = 0  # no line before this tick
        while True:
            await asyncio.sleep_ms(1000)
            self.tick += 1
            try:
                self._set_date()
                for connection in list(self.connections.values()):
                    connection.check_deadline(self.tick)
                for listener in self._listeners:
                    listener.resume()
                self._sorry = self._sorry or HttpError(503).answer()
                self.starved += self.events.starved
                self.events.starved = 0
                if self.starved:
                    self.heads.clear()
                    self.forget()
                    if self.tick >= rest:
                        print("error httpd: no memory, %d times" % self.starved)
                        self.starved = 0
                        rest = self.tick + _TELL_S
            except MemoryError:
                self.starved += 1
