# SPDX-License-Identifier: MIT
"""The poll loop: calls an object when its socket is ready, and functions when their time has come.

An object has ready(events) and failed(exception); what it raises is its own failure, and no other's.
"""

import select
import time

IN = select.POLLIN
OUT = select.POLLOUT
_LONGEST_MS = 1000  # of one wait; timers are exact to a tick of this loop


class Timer:
    """A call to come; cancel() makes it not come."""

    def __init__(self, at: int, call: object) -> None:
        self.at = at
        self.call = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Owns the poll object; sockets stay their owners'."""

    def __init__(self, report: object) -> None:
        self._report = report  # report(exception): of what no object takes
        self._poller = select.poll()
        self._watched: dict = {}  # id(socket) -> object
        self._timers: list = []
        self.stopped = False

    def watch(self, sock: object, target: object, events: int) -> None:
        self._watched[id(sock)] = target
        self._poller.register(sock, events)

    def unwatch(self, sock: object) -> None:
        if self._watched.pop(id(sock), None) is not None:
            self._poller.unregister(sock)

    def call_later(self, ms: int, call: object) -> Timer:
        """Call it without arguments in so many milliseconds."""
        timer = Timer(time.ticks_add(time.ticks_ms(), min(ms, 0x1FFFFFFF)), call)
        self._timers.append(timer)
        return timer

    def run(self) -> None:
        while not self.stopped:
            self._turn(self._run_timers())

    def _run_timers(self) -> int:
        """Call what is due. Returns for how many milliseconds nothing else will be."""
        now = time.ticks_ms()
        wait = _LONGEST_MS
        due = None
        for timer in self._timers:
            left = time.ticks_diff(timer.at, now)
            if left <= 0 or timer.call is None:
                due = due or []
                due.append(timer)
            elif left < wait:
                wait = left
        if due is None:
            return wait
        for timer in due:
            self._timers.remove(timer)
            if timer.call is not None:
                try:
                    timer.call()
                except Exception as exc:
                    self._report(exc)
        return 0

    def _turn(self, wait_ms: int) -> None:
        target = None
        watched = self._watched
        try:
            for sock, events in self._poller.ipoll(wait_ms):
                target = watched.get(id(sock))
                if target is not None:
                    target.ready(events)
        except Exception as exc:
            if target is None:
                self._report(exc)
            else:
                target.failed(exc)
