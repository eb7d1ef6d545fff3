# SPDX-License-Identifier: MIT
"""Checks of upstreams that nobody has to ask for: a GET on a connection of its own, again and again."""

import time

from answers import MAX_HEAD, parse_answer
from message import HttpError
from upstream import Link


class _Check:
    """One question; the user of its link."""

    def __init__(self, checker: "Checker", upstream: object, until: int) -> None:
        self._checker = checker
        self._upstream = upstream
        self._data = b""
        self.until = until
        self.link: object = None

    def start(self, events: object, request: bytes) -> None:
        try:
            self.link = Link(self._upstream, events)
            self.link.user = self
            self.link.send(request)
        except OSError:
            self.end(False)

    def flushed(self) -> None:
        """The request has left."""

    def arrived(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > MAX_HEAD:
                self.end(False)
            return
        try:
            status = parse_answer(self._data[:end], "GET").status
        except HttpError:
            status = 0
        self.end(200 <= status < 400)

    def lost(self) -> None:
        self.end(False)

    def end(self, good: bool) -> None:
        if self.link is not None:
            self.link.close()
        self._checker.ended(self, self._upstream, good)


class Checker:
    """Asks each upstream of a proxy; takes it out, and brings it back."""

    def __init__(self, proxy: object) -> None:
        options = proxy.options
        self._proxy = proxy
        self._options = options
        self._running: list = []
        self._request = (
            "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nUser-Agent: floe-check\r\n\r\n"
            % (options.check_path, options.check_host or options.host or "health")
        ).encode()

    def tick(self, now: int) -> None:
        for check in list(self._running):
            if time.ticks_diff(now, check.until) > 0:
                check.end(False)
        for upstream in list(self._proxy.balancer.all.values()):
            if not upstream.checking and time.ticks_diff(now, upstream.check_at) >= 0:
                upstream.checking = True
                check = _Check(self, upstream, time.ticks_add(now, self._options.check_timeout_ms))
                self._running.append(check)
                check.start(self._proxy.events, self._request)

    def stop(self) -> None:
        while self._running:
            link = self._running.pop().link
            if link is not None:
                link.close()

    def ended(self, check: _Check, upstream: object, good: bool) -> None:
        options = self._options
        if check not in self._running:
            return
        self._running.remove(check)
        upstream.checking = False
        upstream.check_at = time.ticks_add(time.ticks_ms(), options.check_ms)
        if good:
            upstream.worked()
        if good == upstream.healthy:
            upstream.streak = 0
            return
        upstream.streak += 1
        if upstream.streak >= (options.rise if good else options.fall):
            upstream.streak = 0
            upstream.healthy = good
            self._proxy.say("upstream %s is %s", upstream.name, "back" if good else "out")
            if not good:
                upstream.close_idle()
        self._proxy.balancer.refresh()
