# SPDX-License-Identifier: MIT
"""What a handler gets: the event, which is one HTTP request, and the context, which is this call of the function.

An event has attributes; and, for handlers written for function URLs, the keys of such an event in format 2.0, which
are made when the first of them is asked for.
"""

import binascii
import os
import time

import cloudevent
import http1
from message import HttpError

import floe

_ID = frozenset(b"-._~:+/=@0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LONGEST_ID = 128


def _text(raw: bytes) -> str | None:
    try:
        return str(raw, "utf-8")
    except UnicodeError:
        return None


def _words(query: bytes) -> dict:
    """name -> value; of several values the last one. What is no UTF-8 raises HttpError 400."""
    found = {}
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            name, value = _text(http1.unquote(name)), _text(http1.unquote(value))
            if name is None or value is None:
                raise HttpError(400, "the query is not UTF-8")
            found[name] = value
    return found


class Event:
    """One request. headers: names in small letters; query: dict; body: bytes; text: it as str, None if it is none."""

    def __init__(self, request: object, context: object) -> None:
        self.method = request.method
        self.path = request.path
        self._request = request
        self._context = context
        self._lazy: dict = {}

    def __getattr__(self, name: str) -> object:
        if name == "body":
            value = bytes(self._request.body)
        elif name == "headers":
            fields = self._request.head.fields
            value = {str(key, "utf-8"): _text(said) or repr(said)[2:-1] for key, said in fields.items()}
        elif name == "query":
            value = _words(self._request.head.query)
        elif name == "text":
            value = _text(self._request.body)
        else:
            raise AttributeError(name)
        setattr(self, name, value)
        return value

    def json(self) -> object:
        """The body as JSON; what is none is answered with 415 or 400."""
        request = self._request
        return request.json()

    # ---- as an event of a function URL ----------------------------------------------------------

    def _keys(self) -> dict:
        if not self._lazy:
            head = self._request.head
            encoded = self.text is None
            http = {"method": self.method, "path": self.path, "protocol": "HTTP/1.%d" % head.minor}
            http["userAgent"] = self.headers.get("user-agent", "")
            stamp = {"http": http, "requestId": self._context.request_id, "timeEpoch": time.time_ns() // 1000000}
            self._lazy = {
                "version": "2.0",
                "rawPath": self.path,
                "rawQueryString": str(head.query, "utf-8"),
                "queryStringParameters": self.query,
                "headers": self.headers,
                "requestContext": stamp,
                "body": str(binascii.b2a_base64(self.body)[:-1], "utf-8") if encoded else self.text,
                "isBase64Encoded": encoded,
            }
            if "cookie" in self.headers:
                self._lazy["cookies"] = [each.strip() for each in self.headers["cookie"].split(";")]
        return self._lazy

    def __getitem__(self, key: str) -> object:
        return self._keys()[key]

    def __contains__(self, key: str) -> bool:
        return key in self._keys()

    def __iter__(self) -> object:
        return iter(self._keys())

    def get(self, key: str, default: object = None) -> object:
        return self._keys().get(key, default)

    def cloud_event(self) -> dict | None:
        """The attributes of a CloudEvent, and "data"; None: the request is none. A bad one is answered with 400."""
        return cloudevent.taken_from(self.headers, self.body, self.text)


class Context:
    """One call."""

    function_name, function_version = floe.app()
    memory_limit_in_mb = floe.mem_info()["ram"] + 524288 >> 20

    def __init__(self, request: object, log: object, timeout_ms: int, first: bool) -> None:
        self.request_id = self.aws_request_id = _request_id(request.field(b"x-request-id"))
        self.log = log
        self.cold_start = first
        self.overdue = False
        self._until = 0
        self._began = 0
        self.begin(timeout_ms)

    def begin(self, timeout_ms: int) -> None:
        """The call begins now."""
        self._began = time.ticks_us()
        self._until = time.ticks_ms() + timeout_ms

    def get_remaining_time_in_millis(self) -> int:
        return max(0, time.ticks_diff(self._until, time.ticks_ms()))

    def elapsed_s(self) -> float:
        return time.ticks_diff(time.ticks_us(), self._began) / 1000000

    @property
    def deadline_ms(self) -> int:
        """When the call has to have ended, in milliseconds since 1970."""
        return time.time_ns() // 1000000 + self.get_remaining_time_in_millis()


def _request_id(said: bytes) -> str:
    """The client's own, if it may stand in a log; else a new one, as a UUID is written."""
    if said and len(said) <= _LONGEST_ID and all(char in _ID for char in said):
        return str(said, "utf-8")
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 15 | 64
    raw[8] = raw[8] & 63 | 128
    text = str(binascii.hexlify(raw), "utf-8")
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
