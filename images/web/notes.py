# SPDX-License-Identifier: MIT
"""The JSON API: notes in memory, and the server's status.

- GET /api/notes: all notes; POST {"text": ...}: 201 and a Location
- GET /api/notes/ID: one note; PUT {"text": ...}; DELETE: 204
- GET /api/changes?since=N: waits until there were more than N changes, at most 20 s; {"changes": M}
- GET /api/status: uptime, memory, counters
"""

import asyncio
import gc
import sys
import time

from httpd import Server
from message import HttpError, Request, Response, json_response
from pages import Router

_MAX_NOTES = 1000
_MAX_TEXT = 4096  # bytes
_WAIT_S = 20


class Notes:
    """All notes, lost when the VM ends."""

    def __init__(self) -> None:
        self._texts: dict = {}  # id -> text
        self._next = 1
        self._changes = 0
        self._changed = asyncio.Event()

    def routes(self, router: Router) -> None:
        router.add("GET", "/api/notes", self.list)
        router.add("POST", "/api/notes", self.create)
        router.add("GET", "/api/changes", self.wait_for_change)
        router.add("GET", "/api/notes/*", self.read)
        router.add("PUT", "/api/notes/*", self.update)
        router.add("DELETE", "/api/notes/*", self.delete)

    def list(self, request: Request) -> Response:
        return json_response([{"id": number, "text": self._texts[number]} for number in sorted(self._texts)])

    def create(self, request: Request) -> Response:
        text = _text_of(request)
        if len(self._texts) >= _MAX_NOTES:
            raise HttpError(507, "there are %d notes already" % _MAX_NOTES)
        number = self._next
        self._next += 1
        self._texts[number] = text
        self._note_change()
        where = "/api/notes/%d" % number
        return json_response({"id": number, "text": text}, 201, ((b"Location", where.encode()),))

    async def wait_for_change(self, request: Request) -> Response:
        """Long polling: the connection waits here, the server goes on."""
        name, _, since = request.head.query.partition(b"=")
        if name != b"since" or not since.isdigit() or len(since) > 9:
            raise HttpError(400, "expected ?since=N")
        if self._changes <= int(since):
            try:
                await asyncio.wait_for(self._changed.wait(), _WAIT_S)
            except asyncio.TimeoutError:
                pass
        return json_response({"changes": self._changes})

    def wake(self) -> None:
        """Answer all that wait for a change."""
        self._changed.set()
        self._changed.clear()

    def _note_change(self) -> None:
        self._changes += 1
        self.wake()

    def read(self, request: Request) -> Response:
        number = self._number(request)
        return json_response({"id": number, "text": self._texts[number]})

    def update(self, request: Request) -> Response:
        number = self._number(request)
        self._texts[number] = _text_of(request)
        self._note_change()
        return json_response({"id": number, "text": self._texts[number]})

    def delete(self, request: Request) -> Response:
        del self._texts[self._number(request)]
        self._note_change()
        return Response(204)

    def _number(self, request: Request) -> int:
        name = request.path.rsplit("/", 1)[-1]
        if request.path != "/api/notes/" + name or not name.isdigit() or len(name) > 9 or int(name) not in self._texts:
            raise HttpError(404, "no such note")
        return int(name)


def _text_of(request: Request) -> str:
    value = request.json()
    text = value.get("text") if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise HttpError(422, 'expected {"text": "..."}')
    data = text.encode()
    at = data.find(b"\xed")
    while at >= 0:  # U+D000 to U+DFFF; MicroPython encodes a lone surrogate, which no reader of the list could decode
        if data[at + 1] >= 0xA0:
            raise HttpError(422, "half a surrogate pair is no text")
        at = data.find(b"\xed", at + 1)
    if len(data) > _MAX_TEXT:
        raise HttpError(413, "a note holds %d bytes" % _MAX_TEXT)
    return text


class Status:
    """Answers GET /api/status. Collects garbage first, so that memory figures compare."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._start = time.ticks_ms()

    def routes(self, router: Router) -> None:
        router.add("GET", "/api/status", self.read)

    def read(self, request: Request) -> Response:
        server = self._server
        gc.collect()
        server.fold()
        value = {
            "platform": sys.platform,
            "version": sys.version,
            "uptime_ms": time.ticks_diff(time.ticks_ms(), self._start),
            "requests": server.served,
            "accepted": server.accepted,
            "connections": len(server.connections),
            "heap_used": gc.mem_alloc(),
            "heap_free": gc.mem_free(),
        }
        if sys.platform == "floe":
            import floe

            value["memory"] = floe.mem_info()
            value["boot_us"] = floe.boot_times()
        return json_response(value)
