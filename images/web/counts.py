# SPDX-License-Identifier: MIT
"""Metrics of the server. What is answered from memory counts itself (Prepared.hits) and is added when somebody asks."""

import time

from message import Response


class Counts:
    """app: an appliance.App; server.note is it."""

    def __init__(self, app: object, server: object) -> None:
        self._server = server
        self.log: object = None  # an AccessLog
        self._requests = app.counter("web_requests_total", "Requests answered.", ("host", "code"))
        self._bytes = app.counter("web_body_bytes_total", "Bytes of the answers' bodies.")
        text = "From the whole request to the begin of its answer; not for what is answered from memory."
        self._times = app.histogram("web_request_duration_seconds", text)
        self._us = 0
        self._children: dict = {}  # (host, status) -> counter
        # By its name the first of them: what is answered from memory is added before the others are told.
        app.gauge("web_accepted_connections", "Connections since the start.", function=self._collect)
        app.gauge("web_connections", "Connections now.", function=lambda: len(server.connections))

    def _collect(self) -> int:
        self._server.fold()
        self._times.sum = self._us / 1e6
        return self._server.accepted

    def _counter(self, site: str, status: int) -> object:
        child = self._children.get((site, status))
        if child is None:
            child = self._children[(site, status)] = self._requests.labels(site, status)
        return child

    def __call__(self, connection: object, head: object, answer: Response) -> None:
        """An answer begins. head: None if it refuses what is no request."""
        site = ""
        if head is not None:
            site = head.site.label if head.site is not None else ""
            self._bytes.value += answer.size(head.method)
            us = time.ticks_diff(time.ticks_us(), connection.began)
            self._us += us
            if us < 1000:
                self._times.counts[0] += 1
            else:
                self._times.observe(us / 1e6)
        self._counter(site, answer.status).value += 1
        if self.log is not None:
            self.log.note(connection, head, answer)

    def add_hits(self, answer: Response, hits: int) -> None:
        """So many times an answer was given from memory."""
        self._counter(answer.site, answer.status).value += hits
        self._bytes.value += hits * answer.size(answer.method)
