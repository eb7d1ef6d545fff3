# SPDX-License-Identifier: MIT
# A pool of VMs that call functions. Each worker has two pipes to the pool's VM, which hands a piece of work to whoever
# is idle, whenever one of the pool's methods is called: there is no thread that could do it meanwhile.

import select
from errno import EAGAIN
from time import ticks_add, ticks_diff, ticks_ms

import vm

from .connection import Pipe, milliseconds
from .errors import ProcessError, TimeoutError
from .names import find, name_of
from .process import Process
from .values import dumps

_RUN, _CLOSE, _TERMINATE = range(3)
_AGAIN_MS = 500  # between two tries at a worker for which there was no room


def _work(connection, others, initializer, initargs):
    """A worker's life: (function's name, star, list of arguments), answered by (True, values) or (False, exception)."""
    for other in others:
        other.close()
    if initializer is not None:
        initializer(*initargs)
    while (task := _next(connection)) is not None:
        name, star, items = task
        try:
            function = find(*name)
            if star:
                done = [function(*args, **kwargs) for args, kwargs in items]
            else:
                done = [function(item) for item in items]
            answer = dumps((True, done))
        except Exception as e:
            answer = _failure(e)
        connection.send_bytes(answer)


def _next(connection):
    try:
        return connection.recv()
    except EOFError:  # the pool's VM has ended
        return None


def _failure(e):
    try:
        return dumps((False, e))
    except TypeError:  # its class or what it holds cannot travel
        return dumps((False, RuntimeError(type(e).__name__ + ": " + str(e))))


class AsyncResult:
    """What one call or map comes to: pieces, each a list of values."""

    def __init__(self, pool, pieces, one, callback=None, error_callback=None):
        self._pool = pool
        self._pieces = [None] * pieces
        self._missing = pieces
        self._one = one
        self._error = None
        self._callback, self._error_callback = callback, error_callback
        self._value = None
        if not pieces:
            self._end()

    def _take(self, index, good, value):
        if self._missing:
            self._missing -= 1
            self._pieces[index] = value
            if not good and self._error is None:
                self._error = value
            if not self._missing:
                self._end()

    def _end(self):
        if self._error is None:
            values = [value for piece in self._pieces for value in piece]
            self._value = values[0] if self._one else values
            if self._callback is not None:
                self._callback(self._value)
        elif self._error_callback is not None:
            self._error_callback(self._error)

    def ready(self):
        self._pool._turn(0)
        return not self._missing

    def successful(self):
        if not self.ready():
            raise ValueError("<AsyncResult> not ready")
        return self._error is None

    def wait(self, timeout=None):
        self._pool._turn_until(lambda: not self._missing, timeout)

    def get(self, timeout=None):
        self.wait(timeout)
        return self._result()

    async def get_async(self):
        """As get(), while the other tasks of the loop go on."""
        while not self.ready():
            await vm.until_ready(*self._pool._streams())
        return self._result()

    def _result(self):
        if self._missing:
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value


class _Iterator:
    """imap(): what has come, in order or as it comes."""

    def __init__(self, pool, pieces, ordered):
        self._pool = pool
        self._pieces = {}
        self._order = list(range(pieces)) if ordered else None
        self._left = pieces
        self._values = []

    def _take(self, index, good, value):
        self._pieces[index] = (good, value)

    def _which(self):
        if self._order is None:
            return min(self._pieces, default=None)
        return self._order[0] if self._order[0] in self._pieces else None

    def __iter__(self):
        return self

    def __next__(self):
        return self.next()

    def next(self, timeout=None):
        while not self._values:
            if not self._left:
                raise StopIteration
            self._pool._turn_until(lambda: self._which() is not None, timeout)
            index = self._which()
            if index is None:
                raise TimeoutError
            good, value = self._pieces.pop(index)
            self._left -= 1
            if self._order is not None:
                self._order.pop(0)
            if not good:
                raise value
            self._values = value
        return self._values.pop(0)


class _Worker:
    def __init__(self, pool, others, host):
        self.host = host
        ours, theirs = Pipe()
        arguments = (theirs, [ours] + others, pool._initializer, pool._initargs)
        self.process = Process(target=_work, args=arguments, daemon=True, host=host)
        self.process.start()
        theirs.close()
        self.connection = ours
        self.stream = ours.stream()
        self.job = None  # (result, index)

    def close(self):
        self.connection.close()


class _Pool:
    def __init__(self, processes=None, initializer=None, initargs=(), hosts=None):
        processes = 1 if processes is None else processes
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._initializer, self._initargs = initializer, initargs
        self._state = _RUN
        self._waiting = []  # (result, index, task)
        self._workers = []
        self._lost = []  # of workers that are to be replaced: host, and when that is tried next
        hosts = list(hosts or (None,))
        for number in range(processes):
            self._beget(hosts[number % len(hosts)])

    def _beget(self, host):
        self._workers.append(_Worker(self, [worker.connection for worker in self._workers], host))

    # ---- work is handed out and taken back

    def _submit(self, result, function, star, pieces):
        name = name_of(function)
        self._waiting += [(result, index, dumps((name, star, items))) for index, items in enumerate(pieces)]
        try:
            self._turn(0)
        except OSError:  # nobody is there to do it
            self._waiting = [piece for piece in self._waiting if piece[0] is not result]
            raise
        return result

    def _streams(self):
        return [worker.stream for worker in self._workers if worker.job]

    def _turn(self, ms):
        """Hand out what can be, and take what has come within that time."""
        self._hand_out()
        busy = {id(worker.stream): worker for worker in self._workers if worker.job}
        poller = select.poll()
        for worker in busy.values():
            poller.register(worker.stream, select.POLLIN)
        if busy:
            for stream, _ in poller.poll(self._until_again(ms)):
                self._take(busy[id(stream)])
            self._hand_out()

    def _until_again(self, ms):
        """So long at the most, as poll() has it: work that waits may have another worker then."""
        ms = -1 if ms is None else ms
        if self._waiting and self._lost:
            again = max(0, min(ticks_diff(when, ticks_ms()) for _, when in self._lost))
            ms = again if ms < 0 else min(ms, again)
        return ms

    def _fill_up(self):
        """Replace workers that have ended: each at its time, or at once where work waits and nobody is there."""
        if self._state == _TERMINATE:
            return
        error = None
        for _ in range(len(self._lost)):
            host, when = self._lost.pop(0)
            if ticks_diff(when, ticks_ms()) > 0 and (self._workers or not self._waiting):
                self._lost.append((host, when))
                continue
            try:
                self._beget(host)
            except OSError as e:
                error = e
                if e.errno == EAGAIN or not (self._workers or self._lost):
                    self._lost.append((host, ticks_add(ticks_ms(), _AGAIN_MS)))
                # else its host is gone, say: the others do the work
        if error is not None and self._waiting and not self._workers:
            raise error

    def _hand_out(self):
        self._fill_up()
        for worker in self._workers:
            if worker.job is None and self._waiting:
                result, index, task = self._waiting.pop(0)
                worker.job = (result, index)
                worker.connection.send_bytes(task)

    def _take(self, worker):
        result, index = worker.job
        try:
            good, value = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._workers.remove(worker)
            worker.close()
            self._lost.append((worker.host, ticks_ms()))
            good, value = (
                False,
                ProcessError(
                    "a worker of the pool ended with exit code " + str(worker.process.exitcode) + " at its work"
                ),
            )
        worker.job = None
        result._take(index, good, value)

    def _turn_until(self, condition, timeout):
        self._turn(0)
        end = None if timeout is None else ticks_add(ticks_ms(), milliseconds(timeout))
        while not condition():
            left = None if end is None else ticks_diff(end, ticks_ms())
            if left is not None and left <= 0:
                return
            if not any(worker.job for worker in self._workers):
                raise ValueError("Pool not running")
            self._turn(left)

    # ---- what people call

    def _check_running(self):
        if self._state != _RUN:
            raise ValueError("Pool not running")

    def _cut(self, iterable, chunksize):
        self._check_running()
        items = list(iterable)
        if chunksize is None:
            chunksize, more = divmod(len(items), (len(self._workers) + len(self._lost)) * 4)
            chunksize += more > 0
        elif chunksize < 1:
            raise ValueError("Chunksize must be 1+, not " + str(chunksize))
        return [items[at : at + chunksize] for at in range(0, len(items), chunksize or 1)]

    def apply(self, func, args=(), kwds=None):
        return self.apply_async(func, args, kwds).get()

    def apply_async(self, func, args=(), kwds=None, callback=None, error_callback=None):
        self._check_running()
        result = AsyncResult(self, 1, True, callback, error_callback)
        return self._submit(result, func, True, [[(tuple(args), dict(kwds or {}))]])

    def map(self, func, iterable, chunksize=None):
        return self.map_async(func, iterable, chunksize).get()

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        pieces = self._cut(iterable, chunksize)
        return self._submit(AsyncResult(self, len(pieces), False, callback, error_callback), func, False, pieces)

    def starmap(self, func, iterable, chunksize=None):
        return self.starmap_async(func, iterable, chunksize).get()

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        pieces = [[(tuple(args), {}) for args in piece] for piece in self._cut(iterable, chunksize)]
        return self._submit(AsyncResult(self, len(pieces), False, callback, error_callback), func, True, pieces)

    def imap(self, func, iterable, chunksize=1):
        pieces = self._cut(iterable, chunksize)
        return self._submit(_Iterator(self, len(pieces), True), func, False, pieces)

    def imap_unordered(self, func, iterable, chunksize=1):
        pieces = self._cut(iterable, chunksize)
        return self._submit(_Iterator(self, len(pieces), False), func, False, pieces)

    def close(self):
        if self._state == _RUN:
            self._state = _CLOSE

    def join(self):
        if self._state == _RUN:
            raise ValueError("Pool is still running")
        if self._state == _CLOSE:
            while self._waiting or any(worker.job for worker in self._workers):
                self._turn(None)
            for worker in self._workers:
                worker.connection.send(None)
        for worker in self._workers:
            worker.process.join()
            worker.close()
        self._workers = []

    def terminate(self):
        self._state = _TERMINATE
        self._waiting = []
        for worker in self._workers:
            worker.process.kill()

    def __enter__(self):
        self._check_running()
        return self

    def __exit__(self, kind, value, trace):
        self.terminate()


def Pool(processes=None, initializer=None, initargs=(), *, hosts=None):
    return _Pool(processes, initializer, initargs, hosts)
