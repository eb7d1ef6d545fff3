# SPDX-License-Identifier: MIT
"""One request on its way through the proxy: to an upstream, perhaps to another one, and the answer back.

It is what the client's connection has Pending, the user of a connection to an upstream, and the source of the answer's
body. Not here: which upstream (balance.py), the bytes (forward.py, answers.py).
"""

import time

from answers import MAX_HEAD, Answer, Content, bad, parse_answer
from forward import Relayed, Whole, wants_tunnel
from http1 import CONTINUE
from message import HttpError, Pending, Response
from upstream import LARGE

try:
    from _proxy import answer as whole_answer
except ImportError:  # another MicroPython
    whole_answer = None

_IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
_SPARE = 64
_INTERIM = 16  # 1xx answers before one
_VANISHED_MS = 2000  # that an upstream is waited for which its name no more leads to
_WHOLE = 8192  # bytes: shorter ones are waited for, so that they leave in one piece


class Exchange(Pending):
    """proxy: whose it is. One of: waiting for an upstream's answer, passing it on, over."""

    link: object = None
    problem = 503  # what to answer if there is no other upstream
    taken = False  # some of a streamed body has been read
    begun = False  # a byte of the answer has come
    pending = b""  # of its head
    interim = 0
    answer_head: Answer | None = None
    content: Content | None = None
    relayed = False  # the client's connection has the head of the answer
    tunnel = False
    status = length = 0  # of an answer that is passed on as it is
    wire = b""  # the request for an upstream, without a body that is streamed
    passes = False  # a plain answer needs nothing to be done to it
    over = False  # of the answer's body, all has come
    until = 0  # ticks_ms: the upstream must have moved
    end = 0  # ticks_ms: the head of an answer must be here
    wake: object = None  # of the client's connection

    def __init__(self, proxy: object, request: object) -> None:
        self.proxy = proxy
        self.request = request
        self.body = request.body
        self.streams = not isinstance(self.body, (bytes, bytearray))
        self.sent = not self.streams  # all of the request has been given to the link
        self.tried: list = []  # upstreams that failed

    # ---- to an upstream -------------------------------------------------------------------------

    def start(self, fresh: bool = False) -> Response | None:
        """Ask an upstream. None: the answer comes later."""
        proxy = self.proxy
        while len(self.tried) < proxy.options.tries:
            upstream = proxy.balancer.choose(self.tried)
            if upstream is None:
                break
            if self.tried:
                upstream.retries += 1
            if self._ask(upstream, fresh or self.request.method not in _IDEMPOTENT):
                return None
            self._blame(upstream)
        self._finish()
        fields = ((b"Retry-After", b"1"),) if self.problem == 503 else ()
        return HttpError(self.problem, "", fields).answer()

    def _ask(self, upstream: object, fresh: bool) -> bool:
        proxy = self.proxy
        try:
            self.link = upstream.take_link(proxy.events, self, fresh)
            upstream.requests += 1
            self._wait(proxy.options.connect_ms if self.link.connecting else proxy.options.read_ms)
            self.link.send(self.wire)
            if self.streams and not self.link.out:
                self._pump()
            return True
        except OSError:
            self._drop()
            return False

    def _wait(self, ms: int) -> None:
        self.until = time.ticks_add(time.ticks_ms(), ms)

    def flushed(self) -> None:
        """The link has sent what it was given. May raise OSError."""
        self._wait(self.proxy.options.read_ms)
        if self.streams and (not self.sent or self.tunnel):
            self._pump()

    def _pump(self) -> None:
        """Pass on what there is of the request's body."""
        body = self.body
        body.wake = self._body_woke
        while not self.link.out and (not self.sent or self.tunnel):
            if body.endless and not self.tunnel:
                self.sent = True
                return
            piece = body.read()
            if piece is None:
                return
            self.taken = True
            self._wait(self.proxy.options.tunnel_ms if self.tunnel else self.proxy.options.read_ms)
            if body.length < 0:
                self.link.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            elif piece:
                self.link.send(piece)
            self.sent = not piece
            self.end = time.ticks_add(time.ticks_ms(), self.proxy.options.total_ms)

    def _body_woke(self) -> None:
        if self.link is not None and not self.link.connecting:
            try:
                self._pump()
            except OSError:
                self.lost()

    # ---- what goes wrong ------------------------------------------------------------------------

    def _blame(self, upstream: object) -> None:
        self.tried.append(upstream)
        self.problem = 502
        self.proxy.blame(upstream)

    def _drop(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close()

    def _finish(self) -> None:
        self._drop()
        self.over = True
        self.proxy.exchanges.pop(id(self), None)

    def lost(self) -> None:
        """The connection to the upstream has ended."""
        if self.content is not None and self.content.end():
            self._complete(False)
            self._tell()
        else:
            self.fail(502)

    def fail(self, status: int) -> None:
        """The upstream has not done what it should: ask another one, or answer with this status."""
        link = self.link
        if link is None:
            return
        stale = link.reused and not self.begun and status == 502
        never = link.connecting  # then it has not seen the request
        upstream = link.upstream
        self._drop()
        if not stale:
            self._blame(upstream)
            self.problem = status
        again = not self.begun and not self.taken and (never or self.request.method in _IDEMPOTENT)
        if self.relayed:
            self._finish()
            self.content = None
            self._tell()
        elif again:
            try:
                answer = self.start(stale)
            except MemoryError as exc:
                self._finish()
                answer = self.connection.server.error_answer(exc)
            if answer is not None:
                self._refuse(answer)
        else:
            self._finish()
            self._refuse(HttpError(status).answer())

    def _refuse(self, answer: Response) -> None:
        site = self.request.head.site
        self.answer(site.told(answer) if site is not None else answer)

    def check(self, now: int) -> None:
        """Called often: is something overdue, or the upstream known to be gone?"""
        link = self.link
        if link is None:
            return
        upstream = link.upstream
        quiet_ms = self.proxy.options.read_ms - time.ticks_diff(self.until, now)
        lost = (not upstream.healthy and self.proxy.balancer.has_good()) or (
            upstream.vanished and quiet_ms > _VANISHED_MS
        )
        if lost and not self.begun and not self.taken and self.request.method in _IDEMPOTENT:
            self.fail(504)
        elif self.answer_head is None and self.sent and time.ticks_diff(now, self.end) > 0:
            self.tried = [None] * self.proxy.options.tries  # and no other is asked
            self.fail(504)
        elif time.ticks_diff(now, self.until) > 0 and self._owes():
            self.fail(504)

    def _owes(self) -> bool:
        """Whether it is the upstream, and not the client, that is waited for."""
        link = self.link
        if link.connecting or link.out or self.tunnel:
            return True
        if not self.relayed:
            return self.sent or self.begun
        return link.reading and not self.content

    # ---- and back -------------------------------------------------------------------------------

    def arrived(self, data: bytes) -> None:
        """The upstream has sent something."""
        if self.passes and not self.begun and not self.connection.server.stopping:
            answer = whole_answer(data)
            if answer is not None:
                self._pass(answer)
                return
        self.begun = True
        self._wait(self.proxy.options.tunnel_ms if self.tunnel else self.proxy.options.read_ms)
        try:
            if self.answer_head is None:
                data = self._take_head(self.pending + data if self.pending else data)
            if self.answer_head is not None:
                self._take(data)
        except HttpError as exc:
            self.proxy.note_bad(self.link.upstream, exc)
            self.fail(502)

    def _pass(self, answer: tuple) -> None:
        """All of it is here, and as the client may have it: see modules/http/httppass.h."""
        link, self.link = self.link, None
        proxy = self.proxy
        link.upstream.worked()
        link.release(proxy.options.idle)
        self.over = True
        proxy.exchanges.pop(id(self), None)
        connection, self.connection = self.connection, None
        self.status, self.length, wire = answer
        connection.pass_on(self, wire)
        if self.head is None and not self.tried and len(proxy.spare) < _SPARE:
            proxy.spare.append(self)

    def size(self, method: str) -> int:
        return self.length

    def answer(self, response: Response) -> None:
        self.head = self.head or self.request.head
        Pending.answer(self, response)

    def _take_head(self, data: bytes) -> bytes:
        """Returns what comes behind it, once it is whole."""
        while self.answer_head is None:
            end = data.find(b"\r\n\r\n")
            if end > MAX_HEAD or (end < 0 and len(data) > MAX_HEAD):
                raise bad("head too large")
            if end < 0:
                self.pending = data
                return b""
            answer = parse_answer(data[:end], self.request.method)
            data = data[end + 4 :]
            if answer.status == 101:
                self._begin_tunnel(answer)
            elif answer.status < 200:
                self._pass_interim(answer.status)
                if self.link is None:  # the client has gone
                    return b""
                continue
            self.answer_head = answer
        self.pending = b""
        self.link.upstream.worked()
        self.content = Content(-2 if self.tunnel else self.answer_head.length)
        return data

    def _pass_interim(self, status: int) -> None:
        self.interim += 1
        if self.interim > _INTERIM:
            raise bad("too many interim answers")
        if status == 100 and self.request.head.expects and self.connection is not None:
            try:
                self.connection.inform(CONTINUE)
            except OSError as exc:  # the client's, and no fault of the upstream
                self.connection.failed(exc)

    def _begin_tunnel(self, answer: Answer) -> None:
        if not self.streams or not wants_tunnel(self.request.head) or answer.upgrade.lower() != b"websocket":
            raise bad("a protocol that nobody asked for")
        answer.length = -2
        answer.keep = False
        self.tunnel = True

    def _take(self, data: bytes) -> None:
        """Take some of the body, and tell the client's connection."""
        if self.answer_head.length == 0:
            done, beyond = True, data
        else:
            done, beyond = self.content.feed(data)
        if done:
            self._complete(not beyond)
        elif not self.relayed and 0 < self.answer_head.length <= _WHOLE and not self.streams:
            return  # the rest is on its way
        if self.relayed:
            if not done and len(self.content):
                self.link.pause()
            self._tell()
        else:
            self._relay(done)

    def _complete(self, clean: bool) -> None:
        """All of the answer is here: the link is free, if nothing is wrong with it."""
        link, self.link = self.link, None
        if clean and self.sent and self.answer_head.keep and not self.tunnel:
            link.release(self.proxy.options.idle)
        else:
            link.close()
        self._finish()

    def _relay(self, whole: bool) -> None:
        self.relayed = True
        site = self.request.head.site
        if site is not None and site.headers:
            self.answer_head.fields = site.over(self.answer_head.fields)
        if whole:
            self.answer(Whole(self.answer_head, self.content.take()))
            return
        self.link.size = LARGE
        if len(self.content):
            self.link.pause()
        self.answer(Relayed(self.answer_head, self))
        if self.tunnel and self.link is not None:
            self._body_woke()

    def _tell(self) -> None:
        if self.wake is not None:
            self.wake()

    # ---- the source of the answer's body, for the client's connection ---------------------------

    def read(self) -> bytes | None:
        """As message.Streamed has it. Raises OSError if the upstream has failed."""
        if self.content is None:
            raise OSError(5)
        piece = self.content.take()
        if self.link is not None and not self.link.reading:
            self._wait(self.proxy.options.read_ms)
            self.link.resume()
        if piece:
            return piece
        return b"" if self.over else None

    def close(self) -> None:
        self.wake = None
        self._finish()

    def cancel(self) -> None:
        """The client has gone."""
        self.connection = None
        self._finish()
