# SPDX-License-Identifier: MIT
"""A poll loop: calls an object when its socket is ready, and functions when their time has come.

An object has ready(events) and failed(exception): what ready() raises is its own failure, and no other's.
"""

import select
import time

IN = select.POLLIN
OUT = select.POLLOUT
_LONGEST_MS = 1000  # of one wait
_LACKS = 50  # turns in a row that end for want of memory


class Timer:
    """A call to come; cancel() makes it not come."""

    def __init__(self, loop: object, call: object, period: int) -> None:
        self._loop = loop
        self.at = 0
        self.call = call
        self.period = period  # ms; 0: once

    def again(self, ms: int) -> None:
        """Come in so many milliseconds, in place of when it would. With a period that takes no memory."""
        loop = self._loop
        self.at = time.ticks_add(time.ticks_ms(), min(ms, 0x1FFFFFFF))
        loop.timers.add(self)
        if time.ticks_diff(self.at, loop.next) < 0:
            loop.next = self.at

    def cancel(self) -> None:
        self._loop.timers.discard(self)


class Loop:
    """Owns the poll object; sockets stay their owners'."""

    def __init__(self, report: object) -> None:
        self.report = report  # report(exception): of what no object takes
        self.begin = None  # begin(): something has happened, and who is concerned is about to be called
        self.settle = None  # settle(): all have been called, and the loop is about to wait
        self.stopped = False
        self._poller = select.poll()
        self._watched: dict = {}  # id(socket) -> object
        self.timers: set = set()
        self.next = time.ticks_ms()  # no timer is due before

    def watch(self, sock: object, target: object, events: int) -> None:
        """Call target.ready() at these events from now on, and at no others."""
        self._watched[id(sock)] = target
        self._poller.register(sock, events)

    def unwatch(self, sock: object) -> None:
        if self._watched.pop(id(sock), None) is not None:
            self._poller.unregister(sock)

    def call_later(self, ms: int, call: object, period: int = 0) -> Timer:
        """Call it without arguments in so many milliseconds, six days at most.

        period: ms, of one that comes again and again. That takes no memory: what keeps a server going needs it."""
        timer = Timer(self, call, period)
        timer.again(ms)
        return timer

    def run(self) -> None:
        """Until somebody sets `stopped`. Raises MemoryError when there has been none for many turns."""
        lacks = 0
        while not self.stopped:
            try:
                self._turn()
                lacks = 0
            except MemoryError as exc:
                lacks += 1
                if lacks == _LACKS:
                    raise
                self.report(exc)

    def _turn(self) -> None:
        wait = time.ticks_diff(self.next, time.ticks_ms())
        if wait <= 0:
            wait = self._run_timers()
        target = None
        watched = self._watched
        begin = self.begin
        try:
            for sock, events in self._poller.ipoll(wait):
                if target is None and begin is not None:
                    begin()
                target = watched.get(id(sock))
                if target is not None:
                    target.ready(events)
        except Exception as exc:
            if target is None:
                self.report(exc)
            else:
                target.failed(exc)
        if self.settle is not None:
            self.settle()

    def _run_timers(self) -> int:
        """Call what is due. Returns for how many milliseconds nothing else will be."""
        now = time.ticks_ms()
        self.next = time.ticks_add(now, _LONGEST_MS)
        due = []
        for timer in self.timers:
            if time.ticks_diff(timer.at, now) <= 0:
                due.append(timer)
            elif time.ticks_diff(timer.at, self.next) < 0:
                self.next = timer.at
        if not due:
            return time.ticks_diff(self.next, now)
        if self.begin is not None:
            self.begin()
        for timer in due:
            if timer in self.timers and time.ticks_diff(timer.at, now) <= 0:  # else another one has put it off
                if timer.period:
                    timer.again(timer.period)
                else:
                    self.timers.remove(timer)
                try:
                    timer.call()
                except Exception as exc:
                    self.report(exc)
        return 0
