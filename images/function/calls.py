# SPDX-License-Identifier: MIT
"""The calls of the handler: one at a time or more, each with its time, and what becomes of the ones that fail.

A plain function has the processor to itself until it returns; when its time is over, an exception comes out of
whatever it does (port/mod_timelimit.c). Of a coroutine each step has such a limit, and when the time is over its task
is cancelled; one that goes on after that keeps its place until it ends. Making the answer of what was returned may run
code of the handler's, too, and counts to the call's time.
"""

import asyncio
import io
import json
import sys
from asyncio import core

import _timelimit
from answer import ReturnError, answer_of, is_name
from event import Context, Event
from message import HttpError, Response

_TRACE_LINES = 10
_GRACE_MS = 1000  # for one step of a coroutine that is cancelled, for an exception to say what it is, for health()
_COROUTINE = type(each for each in ())  # a generator's: MicroPython makes no difference
_NOWHERE = -1  # no time that a task waits for


class TimedOut(BaseException):
    """The call's time is over. Not an Exception: a handler's `except Exception` is not meant."""


class Calls:
    """What the server calls with each request. module: has a function of the name that settings.handler says."""

    def __init__(self, app: object, module: object) -> None:
        settings = app.settings
        self.running = 0
        self.stop = asyncio.Event()  # set when Ctrl-C came while a call had the processor
        self._app = app
        self._module = module
        self._name = settings.handler
        self._timeout_ms = int(settings.timeout * 1000)
        self._most = settings.concurrency
        self._queue = settings.queue
        self._debug = settings.debug
        self._waiting: list = []  # an Event for each call that waits for its turn
        self._first = True
        self._done = app.counter("function_calls_total", "Calls by how they ended.", labels=("result",))
        self._duration = app.histogram("function_duration_seconds", "From call to answer.")
        self._overdue = 0
        app.check("calls", lambda: True if not self._overdue else "%d go on after their time" % self._overdue)
        app.gauge("function_running", "Calls that run.", function=lambda: self.running)
        app.gauge("function_waiting", "Calls that wait for their turn.", function=lambda: len(self._waiting))

    def __call__(self, request: object) -> object:
        """A Response, or a coroutine that returns one."""
        context = Context(request, self._app.log, self._timeout_ms, self._first)
        self._first = False
        if self.running < self._most:
            self.running += 1
            return self._begin(request, context)
        if len(self._waiting) >= self._queue:
            return self._busy(context)
        return self._wait_turn(request, context)

    async def _wait_turn(self, request: object, context: Context) -> Response:
        turn = asyncio.Event()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(turn.wait(), self._timeout_ms / 1000)
        except BaseException as exc:
            if turn.is_set():
                self._end_turn()  # it came in the same moment
            else:
                self._waiting.remove(turn)
            if isinstance(exc, asyncio.TimeoutError):
                return self._busy(context)
            raise
        context.begin(self._timeout_ms)
        answer = self._begin(request, context)
        return answer if isinstance(answer, Response) else await answer

    def _end_turn(self) -> None:
        """Who has waited longest takes the place."""
        if self._waiting:
            self._waiting.pop(0).set()
        else:
            self.running -= 1

    def _begin(self, request: object, context: Context) -> object:
        """Call it, in a place that is taken."""
        goes_on = False
        try:
            function = getattr(self._module, self._name)
            event = Event(request, context)
            value = _timelimit.call(self._timeout_ms, TimedOut(), _called, function, event, context)
            if not isinstance(value, _COROUTINE):
                self._count("ok", context)
                return value
            goes_on = True
            result: list = []
            ended = asyncio.Event()
            task = asyncio.create_task(self._run(value, context, result, ended))
            return self._follow(task, context, result, ended)
        except BaseException as exc:
            return self._failed(exc, context)
        finally:
            if not goes_on:
                self._end_turn()

    def health(self) -> object:
        """What health() of the handler's module says, a check of appliance's."""
        try:
            return _timelimit.call(_GRACE_MS, TimedOut(), _healthy, self._module.health)
        except TimedOut:
            return "health() did not end within %g s" % (_GRACE_MS / 1000)
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt) and core._asked:
                self.stop.set()
            return type(exc).__name__

    # ---- coroutines -----------------------------------------------------------------------------

    async def _follow(self, task: object, context: Context, result: list, ended: object) -> Response:
        try:
            await asyncio.wait_for(ended.wait(), context.get_remaining_time_in_millis() / 1000)
        except asyncio.TimeoutError:
            if not ended.is_set():
                self._overdue += 1
                context.overdue = True
            task.cancel()
            return self._failed(TimedOut(), context)
        except asyncio.CancelledError:
            task.cancel()
            raise
        return self._failed(result[1], context) if len(result) > 1 else self._answer_safely(result[0], context)

    async def _run(self, coroutine: object, context: Context, result: list, ended: object) -> None:
        """result: what it returns, or None and what it raised."""
        try:
            result.append(await _Steps(coroutine, context))
        except BaseException as exc:
            result.append(None)
            result.append(exc)
        finally:
            ended.set()
            self._overdue -= context.overdue
            self._end_turn()

    # ---- answers --------------------------------------------------------------------------------

    def _answer_safely(self, value: object, context: Context) -> Response:
        try:
            ms = context.get_remaining_time_in_millis()
            answer = _timelimit.call(ms, TimedOut(), answer_of, value, context.request_id.encode())
        except BaseException as exc:
            return self._failed(exc, context)
        self._count("ok", context)
        return answer

    def _count(self, result: str, context: Context) -> None:
        self._done.labels(result).inc()
        self._duration.observe(context.elapsed_s())

    def _busy(self, context: Context) -> Response:
        self._done.labels("busy").inc()
        return self._error(429, "TooManyRequests", "all places are taken", context, ((b"Retry-After", b"1"),))

    def _failed(self, exc: BaseException, context: Context) -> Response:
        if isinstance(exc, HttpError):  # of event.json() and its like: the client's fault
            self._count("refused", context)
            return self._error(exc.status, "BadRequest", exc.detail, context, exc.fields)
        log = self._app.log
        if isinstance(exc, TimedOut):
            self._count("timeout", context)
            text = "the call did not end within %g s" % (self._timeout_ms / 1000)
            log.error("%s: %s", context.request_id, text)
            return self._error(504, "TimedOut", text, context)
        if isinstance(exc, KeyboardInterrupt) and core._asked:  # and not the handler's own
            self.stop.set()
            self._count("stopped", context)
            return self._error(503, "Stopping", "the function is ending", context)
        try:
            text, trace = _timelimit.call(_GRACE_MS, TimedOut(), _told, exc)
        except BaseException as other:
            if isinstance(other, KeyboardInterrupt) and core._asked:
                return self._failed(other, context)
            text = "does not say what it is: %s" % type(other).__name__
            trace = ["%s: %s" % (type(exc).__name__, text)]
        self._count("error", context)
        said = text if isinstance(exc, ReturnError) else "\n".join(trace)
        log.error("%s: %s", context.request_id, said)
        return self._error(500, type(exc).__name__, text, context, trace=trace)

    def _error(
        self, status: int, kind: str, text: str, context: Context, fields: tuple = (), trace: list | None = None
    ) -> Response:
        said: dict = {"errorType": kind, "errorMessage": text, "requestId": context.request_id}
        if self._debug and trace:
            said["stackTrace"] = trace
        name = kind.encode()  # a class may have any text as its name
        fields += (
            (b"X-Request-Id", context.request_id.encode()),
            (b"X-Error-Type", name if is_name(name) else b"Error"),
        )
        return Response(status, (json.dumps(said) + "\n").encode(), b"application/json", fields)


def _called(function: object, event: Event, context: Context) -> object:
    """A coroutine, or the answer."""
    value = function(event, context)
    return value if isinstance(value, _COROUTINE) else answer_of(value, context.request_id.encode())


def _healthy(function: object) -> object:
    """True, or what is wrong as text. Runs code of the handler's, its __str__ too."""
    try:
        said = function()
        return said is True or str(said or "")
    except Exception as exc:
        return "%s: %s" % (type(exc).__name__, exc)


def _told(exc: BaseException) -> tuple:
    """Its text and its traceback. Runs code of the handler's: its __str__."""
    return str(exc), _trace(exc)


def _trace(exc: BaseException) -> list:
    """The lines of a traceback, of a long one the first and the last."""
    text = io.StringIO()
    sys.print_exception(exc, text)
    lines = text.getvalue().rstrip().split("\n")
    if len(lines) > 2 * _TRACE_LINES:
        lines[_TRACE_LINES:-_TRACE_LINES] = ["  ..."]
    return lines


class _Steps:
    """Awaits a coroutine, each of whose steps is called with a time limit."""

    def __init__(self, coroutine: object, context: Context) -> None:
        self._coroutine = coroutine
        self._context = context

    def __iter__(self) -> object:
        function, argument = self._coroutine.send, None
        task, queue = core.cur_task, core.TaskQueue()
        while True:
            queue.push(task, _NOWHERE)  # empties task.data, too
            queue.pop()
            ms = self._context.get_remaining_time_in_millis()
            try:
                value = _timelimit.call(ms or _GRACE_MS, TimedOut(), function, argument)
            except StopIteration as exc:
                return exc.value
            if value is not None or (task.ph_key == _NOWHERE and task.data is None):  # nobody would wake it
                _timelimit.call(_GRACE_MS, TimedOut(), self._coroutine.close)
                raise ReturnError("the handler is a generator: with `yield` it waits for nothing; `await` or return")
            try:
                yield
                function, argument = self._coroutine.send, None
            except BaseException as exc:
                function, argument = self._coroutine.throw, exc

    __await__ = __iter__
