# SPDX-License-Identifier: MIT
"""A reverse proxy as a handler of httpd.Server: requests go to upstreams, and what these answer goes back.

    proxy = Proxy(["web1:80", "10.0.0.7:8080"], Options())
    proxy.start(server)         # once the server has started

An upstream is host:port; a name stands for all of its addresses and is asked for again as they change.
"""

import asyncio
import time

from balance import ROUND_ROBIN, Balancer
from connection import FOREVER, HANDLER
from exchange import Exchange, whole_answer
from forward import client_words, request_head, wants_tunnel
from health import Checker
from message import HttpError
from resolve import Question

_TICK_MS = 200
_STREAM = 8192  # bytes: longer bodies are passed on as they arrive
_MIN_RESOLVE_MS = 1000
_NO_NAME_MS = 500  # until a name without an address is asked for again
_PER_CLIENT = 64  # clients whose words are remembered


class Options:
    """Times in milliseconds."""

    def __init__(self) -> None:
        self.balance = ROUND_ROBIN
        self.host = ""  # for the upstream; as the client said it if empty
        self.strip = b""  # what to take from the beginning of a path
        self.trust = False  # believe what the client says about who asked
        self.tries = 3  # upstreams that one request may fail at
        self.limit = 256  # requests at a time for one upstream
        self.idle = 32  # connections without a request that are kept to one upstream
        self.idle_ms = 10_000
        self.connect_ms = 2000
        self.read_ms = 30_000  # between two signs of life
        self.total_ms = 60_000  # from the request, all of it sent, to the answer's head
        self.tunnel_ms = 600_000  # between two signs of life in a WebSocket
        self.max_fails = 1  # in a row, until an upstream is asked last; 0: never mind
        self.down_ms = 5000  # for so long
        self.check_path = ""  # to ask for; without it nothing is checked
        self.check_host = ""
        self.check_ms = 2000  # between checks
        self.check_timeout_ms = 2000
        self.rise = 1  # checks in a row that bring one back
        self.fall = 2  # that take one out
        self.resolve_ms = 2000  # a name is asked for again after its time to live, or after this if that is longer


class Proxy:
    """Raises ValueError for an upstream that is none."""

    def __init__(self, upstreams: list, options: Options, log: object = None) -> None:
        self.options = options
        self.balancer = Balancer(options.balance, options.limit)
        self.exchanges: dict = {}  # id -> Exchange
        self.events: object = None
        self._log = log
        self._checker = Checker(self) if options.check_path else None
        self._questions: list = []
        self._words: dict = {}  # client's address -> client_words()
        self._secure = False
        self.made_of: object = None  # upstreams and options as they were configured
        self._quick: object = None  # makes of a plain request the one for an upstream
        self._plain: object = None  # quick.Plain
        self.spare: list = []  # exchanges that were begun and passed, and nothing else, to be used again
        self._clock: object = None
        for text in upstreams:
            self.balancer.add(text)

    def retire(self) -> None:
        """No request will come any more: what is in flight ends as it would, and then all else."""
        self.balancer.names.clear()
        self._clock = asyncio.create_task(self._end(self._clock))

    async def _end(self, clock: object) -> None:
        while self.exchanges or self._questions:
            await asyncio.sleep_ms(_TICK_MS)
        clock.cancel()
        if self._checker is not None:
            self._checker.stop()
        for upstream in self.balancer.all.values():
            upstream.close_idle()

    def start(self, server: object) -> None:
        self.events = server.events
        self._secure = server.context is not None
        options = self.options
        if (
            whole_answer
            and server.handler is self
            and not (options.trust or options.host or options.strip or server.forgets)
        ):
            from _proxy import request
            from quick import Plain, Quick

            self._quick, self._plain = request, Plain
            server.kind = Quick
        self._clock = asyncio.create_task(self._run_clock())

    # ---- requests -------------------------------------------------------------------------------

    def streams(self, head: object) -> bool:
        return head.length < 0 or head.length > _STREAM or head.expects or wants_tunnel(head)

    def __call__(self, request: object) -> object:
        if self.events is None:
            raise HttpError(503)
        wire = self.bytes_of(request)  # which may refuse it
        head = request.head
        exchange = Exchange(self, request)
        plain = head.minor == 1 and head.keep_alive and head.method != "HEAD"
        exchange.passes = plain and self._quick is not None and not exchange.streams
        answer = self._begin(exchange, wire)
        return exchange if answer is None else answer

    def begin(self, connection: object, data: bytes) -> bool:
        """Take what has arrived if it is one plain request, and no more."""
        words = self._words.get(connection.peer) or self._words_of(connection.peer)
        wire = self._quick(data, words[2])
        if wire is None:
            return False
        connection.began = time.ticks_us()
        # One used before: to make an object and all that it holds anew costs more than the rest of this.
        exchange = self.spare.pop() if self.spare else Exchange(self, self._plain(self._secure))
        exchange.request.take(data)
        exchange.over = False
        exchange.connection = connection
        exchange.passes = True
        connection.task = exchange
        connection.state = HANDLER  # its socket is watched on: that more arrives meanwhile is seldom
        connection.limit_s = FOREVER
        answer = self._begin(exchange, wire)
        if answer is not None:
            exchange.answer(answer)
        return True

    def _begin(self, exchange: Exchange, wire: bytes) -> object:
        exchange.wire = wire
        exchange.end = time.ticks_add(time.ticks_ms(), self.options.total_ms)
        self.exchanges[id(exchange)] = exchange
        try:
            return exchange.start()
        except Exception:
            exchange.cancel()
            raise

    def bytes_of(self, request: object) -> bytes:
        """The request for an upstream; without its body if that is streamed."""
        head = request.head
        made = head.forward
        if made is None or made[2] is not self:
            made = head.forward = request_head(head, self.options, self._secure) + (self,)  # noqa: RUF005
        words = self._words_of(request.peer)
        start = made[0] + words[0] + made[1] + words[1]
        body = request.body
        if not isinstance(body, (bytes, bytearray)):
            if body.endless:
                return start + b"\r\n\r\n"
            if body.length < 0:
                return start + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
            return start + b"\r\nContent-Length: %d\r\n\r\n" % body.length
        if body or head.method in ("POST", "PUT", "PATCH"):
            return start + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        return start + b"\r\n\r\n"

    def _words_of(self, peer: str) -> tuple:
        words = self._words.get(peer)
        if words is None:
            if len(self._words) >= _PER_CLIENT:
                self._words.clear()
            words = self._words[peer] = client_words(peer, self._secure)
        return words

    # ---- upstreams ------------------------------------------------------------------------------

    def blame(self, upstream: object) -> None:
        was = upstream.is_down
        upstream.failed(self.options.max_fails, self.options.down_ms)
        if upstream.is_down and not was:
            self.say("upstream %s failed", upstream.name)
        self.balancer.refresh()

    def note_bad(self, upstream: object, problem: HttpError) -> None:
        self.say("upstream %s: bad answer: %s", upstream.name, problem.detail)

    def say(self, text: str, *args: object) -> None:
        if self._log is not None:
            self._log.warning(text, *args)

    async def _run_clock(self) -> None:
        while True:
            try:
                self._tick(time.ticks_ms())
            except Exception as exc:  # no socket, or no memory: the next turn of the clock tries again
                self.say("%s: %s", type(exc).__name__, exc)
            await asyncio.sleep_ms(_TICK_MS)

    def _tick(self, now: int) -> None:
        for exchange in list(self.exchanges.values()):
            exchange.check(now)
        self.balancer.tick(now, self.options.idle_ms)
        for question in list(self._questions):
            question.tick()
        for name in list(self.balancer.names.values()):
            if not name.asking and time.ticks_diff(now, name.at) >= 0:
                self._ask(name)
        if self._checker is not None:
            self._checker.tick(now)

    def _ask(self, name: object) -> None:
        name.asking = True

        def done(addresses: list, ttl: int) -> None:
            self._questions.remove(question)
            name.asking = False
            wait = max(_MIN_RESOLVE_MS, ttl * 1000, self.options.resolve_ms) if addresses else _NO_NAME_MS
            name.at = time.ticks_add(time.ticks_ms(), wait)
            self.balancer.resolved(name, addresses)

        question = Question(self.events, name.host, done)
        self._questions.append(question)
        question.start()
