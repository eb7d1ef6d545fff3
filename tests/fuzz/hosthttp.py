# SPDX-License-Identifier: MIT
"""HTTP as the guest's Python reads it: requests that come to images/web, answers that come to `requests`, and what an
appliance is asked on its admin port. It is plain code, run by this Python."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.fuzz.fuzztargets import REPO
from tests.support.imagecode import imported

_LIMIT = 300  # bytes of a body
_AT = {"http": 80, "https": 443}

with imported(REPO / "images" / "web", "http1") as http1:
    _REASONS = http1.HttpError.answer.__globals__["REASONS"]


def _alone(path: str) -> ModuleType:
    """A module of the guest's library, under a name that nobody has."""
    spec = importlib.util.spec_from_file_location(f"guest_{Path(path).stem}", REPO / "frozen" / "lib" / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


requests: Any = _alone("requests.py")
admin: Any = _alone("appliance/admin.py")

# ---- requests to images/web ----------------------------------------------------------------------


class _Reader:
    """A connection's part that reads, as images/web/connection.py has it: the requests that came whole, and whether
    one was refused."""

    def __init__(self, secure: bool) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.refused = False
        self._secure, self._buf = secure, b""
        self._head: Any = None
        self._body: Any = None

    def feed(self, data: bytes) -> None:
        self._buf += data
        try:
            while not self.refused and self._step():
                pass
        except http1.HttpError as e:
            assert e.status in _REASONS and e.answer().head("close", b"").count(b"\n") >= 4
            self.refused = True

    def _step(self) -> bool:
        if self._body is not None:
            done, rest = self._body.feed(self._buf)
            assert len(self._body.data) <= _LIMIT and self._buf.endswith(rest)
            self._buf = bytes(rest)
            if done:
                self._whole(bytes(self._body.data))
            return bool(done)
        while self._buf[:2] == b"\r\n":
            self._buf = self._buf[2:]
        size = self._buf.find(b"\r\n\r\n") + 4
        if size < 4 or size > http1.MAX_HEAD:
            http1.check_unfinished(self._buf)
            return False
        raw, self._buf = self._buf[: size - 4], self._buf[size:]
        self._head = http1.parse_head(raw, self._secure)
        _look(self._head, self._secure)
        if self._head.length == 0:
            self._whole(b"")
        else:
            self._body = http1.Body(self._head.length, _LIMIT)
        return True

    def _whole(self, body: bytes) -> None:
        head = self._head
        self.seen.append((head.method, head.path, head.query, head.minor, head.fields, head.keep_alive, body))
        self._body = None


def _look(head: Any, secure: bool) -> None:
    """What handlers, and who gets the request forwarded, rely on. Put on a wire again it is the same request."""
    assert head.method in http1.METHODS and head.minor in (0, 1) and -1 <= head.length < 10**15
    assert head.path[:1] == "/" or (head.path == "*" and head.method == "OPTIONS")
    assert "\0" not in head.path and head.path.encode().decode() == head.path
    assert head.minor == 0 or head.fields.get(b"host") is not None
    for name, value in head.fields.items():
        assert name and name == name.lower() and not set(name) & set(b'\0\r\n\t :"(),/;<=>?@[\\]{}')
        assert not set(value) & set(b"\0\r\n") and value.strip(b" \t") == value
    lines = [head.method.encode() + b" " + head.target + b" HTTP/1.%d" % head.minor]
    lines += [name + b": " + value for name, value in head.fields.items()]
    again = http1.parse_head(b"\r\n".join(lines), secure)
    keys = ("method", "path", "query", "minor", "fields", "length", "keep_alive", "expects")
    assert all(getattr(again, key) == getattr(head, key) for key in keys)


def requested(data: bytes, folder: Path) -> None:
    """A connection's bytes: the same requests, or the same refusal, however they are cut."""
    how, stream = data[0] if data else 0, data[1:]
    http1.names.clear()
    whole, pieces = _Reader(how & 1 == 1), _Reader(how & 1 == 1)
    whole.feed(stream)
    step = 1 + (how >> 1) % 64
    for at in range(0, len(stream), step):
        pieces.feed(stream[at : at + step])
    assert (whole.seen, whole.refused) == (pieces.seen, pieces.refused)


REQUESTED = (
    b"\x00GET /a%20b?c=d HTTP/1.1\r\nHost: x.example:80\r\nConnection: close\r\n\r\n",
    b"\x07POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
    b"\x02PUT / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    b"5;a=b\r\nhello\r\n00a \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
    b"\x01\r\n\r\nOPTIONS * HTTP/1.1\r\nhOST: x\r\nCookie: a=b\r\nCookie: c=d\r\nAccept: a\r\naccept: b\r\n\r\n",
    b"\x05GET https://x/%e2%82%ac HTTP/1.1\r\nHost: y\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
)

# ---- answers to `requests` -----------------------------------------------------------------------


class _Socket:
    """A connection to a server that says what is left of the input, whatever it is asked."""

    def __init__(self, place: tuple[bool, str, int], stream: bytearray) -> None:
        self.place, self.stream, self.sent, self.closed = place, stream, b"", False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent += data

    def read(self, size: int) -> bytes:
        assert not self.closed and size > 0
        data = bytes(self.stream[:size])
        del self.stream[:size]
        return data

    def readline(self) -> bytes:
        return self.read(self.stream.find(b"\n") + 1 or len(self.stream) or 1)

    def close(self) -> None:
        self.closed = True


def answered(data: bytes, folder: Path) -> None:
    """A server's bytes: an answer or an error, and no connection is left open; where redirects lead, what was sent is a
    request, and a password is for the first place alone."""
    how, stream = data[0] if data else 0, bytearray(data[1:])
    method = ("GET", "HEAD", "POST")[how % 3]
    began, sockets = len(stream), []

    def connect(tls: bool, host: str, port: int, verify: object, timeout: object) -> _Socket:
        sockets.append(_Socket((tls, host, port), stream))
        return sockets[-1]

    requests._connect = connect
    try:
        url = "http://user.example:8080/a/b?c" if how & 4 else "https://user.example/"
        answer = requests.request(
            method, url, data=b"words" if how % 3 == 2 else None, auth=("me", "secret"), redirects=5
        )
        assert len(answer.content) <= began and isinstance(answer.status_code, int) and answer.status_code >= 200
    except (OSError, ValueError):
        pass
    assert 0 < len(sockets) <= 6 and all(s.closed for s in sockets)
    for s in sockets:
        _look_at_sent(s, first=s.place == sockets[0].place)


def _look_at_sent(s: _Socket, *, first: bool) -> None:
    head, _, body = s.sent.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines[1:])
    assert head.count(b"\n") == head.count(b"\r") == len(lines) - 1 and len(fields) == len(lines) - 1
    words = lines[0].split(b" ")
    assert len(words) == 3 and words[1][:1] == b"/" and words[2] == b"HTTP/1.1" and not set(lines[0]) & set(range(32))
    tls, host, port = s.place
    there = host if port == _AT["https" if tls else "http"] else f"{host}:{port}"
    assert fields[b"Host"] == there.encode() and (first or b"Authorization" not in fields)
    assert body == (b"words" if b"Content-Length" in fields else b"")


ANSWERED = (
    b"\x00HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",  # was a crash: the connection stayed open
    b"\x00HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a\r\nX: b\r\n\r\nhello",
    b"\x02HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nT: t\r\n\r\n",
    b"\x04HTTP/1.0 302 Found\r\nLocation: //other.example:81/x?y\r\n\r\nHTTP/1.1 303 \r\nLocation: up\r\n\r\nHTTP/1.1 204\r\n\r\n",
    b"\x01HTTP/1.1 308 x\r\nLocation: https://user.example/q\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\nuntil the end",
    b"\x00HTTP/1.1 302 Found\r\nLocation: http://[::1]:8080?q\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
)

# ---- the admin port ------------------------------------------------------------------------------


def asked(data: bytes, folder: Path) -> None:
    """What comes to the admin port gets one answer, whose length is right."""
    problems = ["a disk is full"] if len(data) % 3 == 0 else []
    app = SimpleNamespace(
        page=lambda: "up 1\n", problems=lambda: list(problems), is_ready=len(data) % 2 == 0, is_stopping=False
    )
    admin.complete(data)
    head, _, body = admin.answer(app, data).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    said = dict(line.split(b": ", 1) for line in lines[1:])
    assert lines[0][:9] == b"HTTP/1.1 " and int(lines[0][9:12]) in (200, 400, 404, 405, 503)
    assert body == b"" or len(body) == int(said[b"Content-Length"])


ASKED = (
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /health?a=b HTTP/1.0\n\n",
    b"POST /ready HTTP/1.1\r\n\r\n",
    b"GET /ready HTTP/1.1\r\n\r\n",
)
