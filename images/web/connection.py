# SPDX-License-Identifier: MIT
"""One HTTP/1.1 connection: a state machine that the poll loop calls when its socket is ready.

At most one request is with the handler at a time and nothing is read meanwhile but a body that the handler
wants as it arrives, nor while answers wait for the client to read them: a client that does not read stops being
served, not the server. Every state has a deadline, which the server's clock checks once a second; while a handler
or the source of an answer is waited for, it is theirs.
"""

import errno
import select
import time
from asyncio import core

from headkey import key_of
from http1 import CONTINUE, MAX_HEAD, Body, Head, check_unfinished, parse_head
from message import HttpError, Pending, Prepared, Request, Response, Streamed

_IN = select.POLLIN
_OUT = select.POLLOUT
RECEIVE = 4096  # bytes asked of the socket at once
_OUT_HIGH = 65536  # bytes of answers to pipelined requests after which they must leave first
_JOIN = 16384  # answers up to this size together are sent in one piece
_QUIET_MS = 300  # a refused client that sends nothing for so long has seen the answer
FOREVER = 1 << 30
_ALIKE = 1024  # keys remembered

# IDLE: nothing of a request is here. SOURCE: of a streamed answer no piece is there to send.
# LINGER: the last answer has left, input is thrown away.
IDLE, HEAD, BODY, HANDLER, WRITE, LINGER, CLOSED, SOURCE = range(8)


class Connection:
    """Owns its socket and, while a coroutine works on the answer, that task."""

    def __init__(self, server: object, sock: object, holder: bytes) -> None:
        self.server = server
        self.sock = sock
        self.peer = ""  # address of the client
        self.holder = holder  # whose connection it is, see Server.make_room()
        self.state = CLOSED
        self.since = 0  # tick when the state was entered, or when an idle client last got an answer
        self.limit_s = 0  # seconds after which the state has lasted too long
        self.mask = 0  # events watched for
        self.pending = b""  # received, not yet taken
        self.head: Head | None = None  # whose body is being received
        self.body: Body | None = None
        self.inflow: object = None  # a body that is handed on as it arrives, until it has
        self.streamed: Streamed | None = None  # whose source is to be read
        self.left = 0  # bytes of it to come; negative: not known
        self.out: list = []  # bytes-like pieces to send
        self.out_size = 0
        self.closing = False  # no further request is taken; ends when out is empty
        self.unread = False  # the client may still be sending
        self.task: object = None  # or what is Pending
        server.accepted += 1
        self.number = server.accepted
        self.began = 0  # when its last request was whole, in microseconds
        server.connections[id(self)] = self
        self._wait(IDLE, server.limits.idle_s, _IN)

    def waits(self) -> bool:
        """For its client, with nothing of an answer."""
        return self.state in (IDLE, HEAD, BODY, LINGER)

    def age_key(self) -> tuple:
        """Sorts connections: the one in its state longest first."""
        return self.since, self.number

    # ---- called by the server -------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """The socket is ready. May raise OSError.

        Few locals and no `try`: a frame of more than 11 words would be allocated in the heap at each call.
        """
        if not events & _IN:
            self._writable(events)
            return
        data = self.sock.recv(RECEIVE)
        answer = self.server.fixed.get(data)
        if answer is None or self.state != IDLE:
            answer = self.server.alike.get(key_of(data)) if self.state == IDLE else None
            if answer is None or answer.tail is not None:
                self._received(data)
                return
        # By far the most frequent case: one whole request, known, with a Prepared answer.
        if answer.date is not self.server.date:
            answer.stamp(self.server.date)
        answer.hits += 1
        self.since = self.server.tick
        events = self.sock.write(answer.wire)
        if events != len(answer.wire):
            self._queue(memoryview(answer.wire)[events or 0 :])
            self._advance()

    def _writable(self, events: int) -> None:
        if events & _OUT:
            self._advance()
        else:
            self.close()

    def _received(self, data: bytes) -> None:
        if not data:
            self.close()  # nothing is owed: while answers wait, nothing is read
        elif self.state == LINGER:
            self.unread = True
        else:
            self.pending = self.pending + data if self.pending else data
            self._advance()

    def failed(self, exc: Exception) -> None:
        """Something raised on behalf of this connection."""
        if isinstance(exc, OSError):
            if exc.errno == errno.EAGAIN:
                return  # not ready after all
        else:
            self.server.error_answer(exc)
        self.close()

    def check_deadline(self, tick: int) -> None:
        inflow = self.inflow
        late = inflow is not None and not inflow.endless and tick - inflow.since > self.server.limits.body_s
        if late and self.mask & _IN:
            self._break(HttpError(408))
            return
        if tick - self.since <= self.limit_s:
            return
        if self.state in (HEAD, BODY):
            self._refuse(HttpError(408))
            try:
                self._advance()
            except OSError:
                self.close()
        else:
            self.close()

    def stop(self) -> None:
        """The server stops: close now if idle, else after the request in flight."""
        if self.state == IDLE:
            try:
                self.ready(_IN)  # a request may have come that nobody has looked at yet
            except OSError as exc:
                self.failed(exc)
        if self.state in (IDLE, LINGER):
            self.close()
        elif self.state in (WRITE, SOURCE) and not self.pending and self.body is None:
            self.closing = True

    def close(self) -> None:
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self.server.events.unwatch(self.sock)
        self.sock.close()
        self.out = []
        self.pending = b""
        self.body = None
        self.server.removed(self)
        self._end_inflow()
        self._end_source()
        if self.task is not None:
            self.task.cancel()
            self.task = None

    # ---- one step after the other ---------------------------------------------------------------

    def _advance(self) -> None:
        """Take requests and send answers until one side has to wait."""
        limits = self.server.limits
        if self.inflow is not None and self.pending:
            self._feed_inflow()
        hungry = False
        while not hungry:
            hungry = self._take_requests()
            if self.out and not self._send():
                self._wait(WRITE, limits.write_s + (self.out_size >> 14), _OUT)
                return
            if self.task is not None:
                if self.state != LINGER:
                    self._wait(HANDLER, FOREVER, 0)
                return
            if self.streamed is not None:
                if not self._pull():
                    self._wait(SOURCE, FOREVER, 0)
                    return
                continue
            if self.closing:
                self._finish()
                return
        if self.body is not None:
            self._wait(BODY, limits.body_s, _IN)
        elif self.pending:
            self._wait(HEAD, limits.head_s, _IN)
        else:
            self._wait(IDLE, limits.idle_s, _IN)

    def _wait(self, state: int, limit_s: int, mask: int) -> None:
        if state != self.state or state == IDLE:
            self.state = state
            self.since = self.server.tick
            self.limit_s = limit_s
        if self.inflow is not None and self.inflow.hungry():
            mask |= _IN
        if mask != self.mask:
            self.mask = mask
            if mask:
                self.server.events.watch(self.sock, self, mask)
            else:
                self.server.events.unwatch(self.sock)

    def _finish(self) -> None:
        """The last answer has left. A socket closed over unread input would reset it away."""
        if self.inflow is not None:
            self.unread = True
            self._end_inflow()
        if self.pending or self.unread:
            self.pending = b""
            self.unread = True
            self._wait(LINGER, self.server.limits.linger_s, _IN)
            self.task = core.create_task(self._linger())
        else:
            self.close()

    async def _linger(self) -> None:
        """Close once the client has been silent for a while."""
        while self.unread:
            self.unread = False
            await core.sleep_ms(_QUIET_MS)
        self.task = None
        self.close()

    # ---- input ----------------------------------------------------------------------------------

    def _take_requests(self) -> bool:
        """Take what is pending. True: more input is needed to go on."""
        try:
            while self.task is None and not self.closing and self.out_size < _OUT_HIGH and self.streamed is None:
                if not self.pending:
                    return True
                if self.body is None:
                    if not self._take_head(self.pending):
                        return True
                    continue
                done, self.pending = self.body.feed(self.pending)
                if not done:
                    return True
                self._dispatch_body()
        except HttpError as exc:
            self._refuse(exc)
        return False

    def _take_head(self, buf: bytes) -> bool:
        """Take one request head, and the request if it has no body. False: it is not whole yet."""
        while buf[:2] == b"\r\n":  # RFC 9112, section 2.2
            buf = self.pending = buf[2:]
        size = buf.find(b"\r\n\r\n") + 4
        if size < 4 or size > MAX_HEAD:
            check_unfinished(buf)
            return False
        key = buf
        rest = b""
        if len(buf) > size:
            key = buf[:size]
            rest = buf[size:]
        server = self.server
        answer = server.fixed.get(key) or server.alike.get(key_of(key))
        if answer is not None:
            self.pending = rest
            answer.hits += 1
            self._answer_prepared(answer)
            return True
        head = server.heads.get(key)
        if head is None:
            head = parse_head(key[:-4], server.context is not None)
            server.remember(server.heads, key, head)
        self.pending = rest
        asks = server.streams is not None and (head.length != 0 or b"upgrade" in head.fields)
        if asks and server.streams(head):
            self._dispatch_inflow(head)
            return True
        if head.length == 0:
            self._dispatch(head, b"", key)
            return True
        self.head = head
        self.body = Body(head.length, server.limits.body)
        if head.expects and not self.pending:
            self._queue(CONTINUE)
        return True

    def _dispatch_body(self) -> None:
        head, body = self.head, self.body
        self.head = self.body = None
        self._dispatch(head, body.data, None)

    def _dispatch(self, head: Head, body: object, key: bytes | None) -> None:
        self.state = IDLE  # whatever comes next starts its own time
        self.began = time.ticks_us()
        answer = self.server.call(Request(head, body, self.peer))
        if isinstance(answer, Response):
            self._answer(head, answer, key)
            return
        self._wait(HANDLER, FOREVER, 0)
        if isinstance(answer, Pending):
            answer.head = head
            answer.connection = self
            self.task = answer
        else:
            self.task = core.create_task(self._run_handler(head, answer))

    async def _run_handler(self, head: Head, coroutine: object) -> None:
        try:
            answer = await coroutine
            if not isinstance(answer, Response):
                raise TypeError("the handler returned no Response")
        except Exception as exc:
            answer = self.server.error_answer(exc)
        self.answered(head, answer)

    def answered(self, head: Head, answer: Response) -> None:
        """The answer that was waited for."""
        self.task = None
        try:
            self._answer(head, answer, None)
            self._advance()
        except Exception as exc:
            self.failed(exc)

    # ---- a body that is handed on as it arrives -------------------------------------------------

    def _dispatch_inflow(self, head: Head) -> None:
        from inflow import Inflow

        inflow = self.inflow = Inflow(self, head)
        inflow.since = self.server.tick
        try:
            if self.pending:
                self.pending = inflow.feed(self.pending)
        except HttpError:
            self._end_inflow()
            raise
        if inflow.ended:
            self.inflow = None
        self._dispatch(head, inflow, None)

    def _feed_inflow(self) -> None:
        """Take what has arrived of it; whoever waits for it is told."""
        inflow = self.inflow
        inflow.since = self.server.tick
        try:
            self.pending = inflow.feed(self.pending)
        except HttpError as exc:
            self._break(exc)
            return
        if inflow.ended:
            self.inflow = None
        if inflow.wake is not None and (inflow.ended or not inflow.hungry()):
            inflow.wake()

    def receive_more(self) -> None:
        """The body's reader has taken what there was."""
        if self.inflow is not None and not self.mask & _IN:
            self.inflow.since = self.server.tick
            self._wait(self.state, self.limit_s, self.mask)

    def _end_inflow(self) -> None:
        if self.inflow is not None:
            self.inflow.close()
            self.inflow = None

    def _break(self, error: HttpError) -> None:
        """The rest of the body will not come. Refuse, unless an answer has begun."""
        task, self.task = self.task, None
        if task is None or self.out:
            self.close()
        else:
            self._refuse(error)
            self._end_inflow()
            try:
                self._advance()
            except OSError:
                self.close()
        if task is not None:
            task.cancel()

    def inform(self, interim: bytes) -> None:
        """An interim answer while one is waited for. May raise OSError."""
        self._queue(interim)
        self._advance()

    # ---- output ---------------------------------------------------------------------------------

    def _queue(self, piece: bytes) -> None:
        self.out.append(piece)
        self.out_size += len(piece)

    def _answer(self, head: Head, answer: Response, key: bytes | None) -> None:
        server = self.server
        server.served += 1
        if server.note is not None:
            server.note(self, head, answer)
        keep = head.keep_alive and not server.stopping and self.inflow is None
        if keep and head.minor == 1 and isinstance(answer, Prepared):
            self._answer_prepared(answer)
            if key is not None:
                if answer.tail is None:
                    server.remember(server.fixed, key, answer)
                if answer.alike:
                    server.remember(server.alike, key_of(key), answer, _ALIKE)
            return
        if isinstance(answer, Streamed):
            keep = self._start_source(head, answer) and keep
        self.closing = not keep
        self._queue(answer.head("close" if not keep else "keep-alive" if head.minor == 0 else "", server.date))
        if answer.has_body(head.method):
            self._queue(answer.body)

    def _start_source(self, head: Head, answer: Streamed) -> bool:
        """Returns whether the client can see the answer's end on a connection that goes on."""
        answer.chunked = answer.length < 0 and head.minor == 1 and answer.status != 101
        if not answer.has_body(head.method):
            answer.source.close()
            return True
        self.streamed = answer
        self.left = answer.length
        answer.source.wake = self._source_woke
        return answer.chunked or answer.length >= 0

    def _source_woke(self) -> None:
        if self.state == SOURCE:
            try:
                self._advance()
            except Exception as exc:
                self.failed(exc)

    def _pull(self) -> bool:
        """Queue the next piece of a streamed answer. False: there is none yet. Raises what its source does."""
        answer = self.streamed
        piece = answer.source.read()
        if piece is None:
            return False
        size = len(piece)
        self.left -= size
        if answer.length >= 0 and (self.left < 0 or (self.left and not size)):
            raise OSError(errno.ECONNRESET)  # not the length that was said
        if answer.chunked:
            self._queue(b"%x\r\n" % size)
        if size:
            self._queue(piece)
        if answer.chunked:
            self._queue(b"\r\n")
        if not size or not self.left:
            self._end_source()
        self.state = HANDLER  # what comes next starts its own time
        return True

    def _end_source(self) -> None:
        streamed, self.streamed = self.streamed, None
        if streamed is not None:
            streamed.source.close()

    def _answer_prepared(self, answer: Prepared) -> None:
        if answer.date is not self.server.date:
            answer.stamp(self.server.date)
        self._queue(answer.wire)
        if answer.tail is not None:
            self._queue(answer.tail)

    def _refuse(self, error: HttpError) -> None:
        """Answer, and believe nothing more that comes on this connection."""
        method = self.head.method if self.head is not None else "HEAD" if self.pending[:5] == b"HEAD " else ""
        self.head = self.body = None
        self.pending = b""
        self.closing = self.unread = True
        answer = error.answer()
        if self.server.note is not None:
            self.server.note(self, None, answer)
        self._queue(answer.head("close", self.server.date))
        if answer.has_body(method):
            self._queue(answer.body)

    def _send(self) -> bool:
        """Send what is queued. False: the client has to read first. May raise OSError."""
        out = self.out
        if len(out) > 1 and self.out_size <= _JOIN:
            joined = bytearray()
            for piece in out:
                joined.extend(piece)
            out[:] = [joined]
        while out:
            piece = out[0]
            sent = self.sock.write(piece) or 0
            self.out_size -= sent
            if sent < len(piece):
                out[0] = memoryview(piece)[sent:]
                return False
            out.pop(0)
        return True
