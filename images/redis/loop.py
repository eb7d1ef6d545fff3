# SPDX-License-Identifier: MIT
"""The poll loop: calls an object when its socket is ready, and functions when their time has come.

An object has ready(events) and failed(exception). After each turn, before it waits again, the loop calls `settle`.
"""

import select
import time

IN = select.POLLIN
OUT = select.POLLOUT
_LONGEST_MS = 100  # of one wait: the clock's turn


class Loop:
    """Owns the poll object; sockets stay their owners'."""

    def __init__(self, report: object, begin: object, settle: object) -> None:
        """report(exception): of what no object takes; begin() and settle(): at a turn's begin and end."""
        self._report = report
        self._begin = begin
        self._settle = settle
        self._poller = select.poll()
        self._watched: dict = {}  # id(socket) -> object
        self._timers: dict = {}  # number -> (when, call)
        self._number = 0

    def watch(self, sock: object, target: object, events: int) -> None:
        self._watched[id(sock)] = target
        self._poller.register(sock, events)

    def unwatch(self, sock: object) -> None:
        if self._watched.pop(id(sock), None) is not None:
            self._poller.unregister(sock)

    def call_later(self, ms: int, call: object) -> int:
        """Call it without arguments in so many milliseconds. Returns a number for cancel()."""
        self._number += 1
        self._timers[self._number] = time.ticks_add(time.ticks_ms(), min(ms, 0x1FFFFFFF)), call
        return self._number

    def cancel(self, number: int) -> None:
        self._timers.pop(number, None)

    def turn(self) -> None:
        wait_ms = self._run_timers()
        target = None
        watched = self._watched
        try:
            for sock, events in self._poller.ipoll(wait_ms):
                if target is None:
                    self._begin()
                target = watched.get(id(sock))
                if target is not None:
                    target.ready(events)
        except Exception as exc:
            if target is None:
                self._report(exc)
            else:
                target.failed(exc)
        self._settle()

    def _run_timers(self) -> int:
        """Call what is due. Returns for how many milliseconds nothing else will be."""
        now = time.ticks_ms()
        wait = _LONGEST_MS
        due = []
        for number, (when, _) in self._timers.items():
            left = time.ticks_diff(when, now)
            if left <= 0:
                due.append(number)
            elif left < wait:
                wait = left
        if not due:
            return wait
        self._begin()
        for number in due:
            entry = self._timers.pop(number, None)
            if entry is None:  # another one has cancelled it
                continue
            try:
                entry[1]()
            except Exception as exc:
                self._report(exc)
        return 0
