# SPDX-License-Identifier: MIT
"""images/web's parser, run by CPython beside h11's: what it takes, h11 takes too, with the same end of each request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.boot.webcases import CASES
from tests.boot.webguest import DATA
from tests.support.imagecode import imported

_EXAMPLES = 2000
_LIMIT = 65536  # bytes of a body
# What h11 refuses and images/web takes: a blank before an extension, and trailers that it throws away.
_REFUSED_BY_H11 = re.compile(rb"[0-9a-f][ \t]+;|\n0\r\n(Content-Length|Transfer-Encoding):")


@pytest.fixture(scope="module")
def http1() -> Iterator[Any]:
    """The module as the guest has it."""
    with imported(DATA.parent, "http1") as module:
        yield module


@dataclass
class Seen:
    """What a parser made of a stream. body: None if its end did not come."""

    method: bytes
    minor: int
    fields: dict[bytes, bytes]
    body: bytes | None
    rest: bytes
    keep_alive: bool


def _see_ours(http1: Any, stream: bytes) -> Seen | None:
    """As connection.py does it. None: refused, or the head is not whole."""
    raw, end, rest = stream.partition(b"\r\n\r\n")
    if not end:
        return None
    try:
        head = http1.parse_head(raw, True)
        body = http1.Body(head.length, _LIMIT)
        done, rest = (True, rest) if head.length == 0 else body.feed(rest)
    except http1.HttpError:
        return None
    data = bytes(body.data) if done else None
    return Seen(head.method.encode(), head.minor, dict(head.fields), data, bytes(rest), head.keep_alive)


def _see_theirs(stream: bytes) -> Seen:
    """Raises h11.RemoteProtocolError."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(stream)
    event = server.next_event()
    assert isinstance(event, h11.Request), event
    fields: dict[bytes, bytes] = {}
    for name, value in event.headers:
        fields[name] = fields[name] + b", " + value if name in fields else value
    body: bytes | None = b""
    while not isinstance(data := server.next_event(), h11.EndOfMessage):
        if not isinstance(data, h11.Data):
            body = None
            break
        body = (body or b"") + bytes(data.data)
    keep_alive = server.their_state is not h11.MUST_CLOSE
    return Seen(event.method, int(event.http_version[2:]), fields, body, server.trailing_data[0], keep_alive)


def _level(ours: Seen, theirs: Seen, stream: bytes) -> None:
    """Make equal what images/web does otherwise on purpose, and what h11 leaves to its user."""
    if b"transfer-encoding" in ours.fields:  # as sent, and in h11 in lower case
        ours.fields[b"transfer-encoding"] = ours.fields[b"transfer-encoding"].lower()
    theirs.minor = min(1, theirs.minor)  # HTTP/1.2 is read as HTTP/1.1: RFC 9110, section 2.5
    if b"://" in stream.split(b" ")[1]:  # the absolute form decides about the host: RFC 9112, section 3.2.2
        theirs.fields[b"host"] = ours.fields[b"host"]
    if ours.minor == 0 and ours.keep_alive:  # kept if asked: RFC 9112, section 9.3
        theirs.keep_alive = True
    if theirs.body is None:  # known to h11 at the end only
        theirs.rest, theirs.keep_alive = ours.rest, ours.keep_alive


def _compare(http1: Any, stream: bytes) -> bool:
    """Whether ours took it; then theirs must have made the same of it."""
    while stream[:2] == b"\r\n":  # h11 takes no empty line before: RFC 9112, section 2.2
        stream = stream[2:]
    ours = _see_ours(http1, stream)
    if ours is None or _REFUSED_BY_H11.search(stream):
        return False
    theirs = _see_theirs(stream)
    _level(ours, theirs, stream)
    assert ours == theirs, stream
    return True


_STARTS = [b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"HEAD /%41 HTTP/1.1", b"PUT http://a/ HTTP/1.1"]
_STARTS += [b"POST / HTTP/1.0", b"OPTIONS * HTTP/1.1", b"GET https://b:1?c HTTP/1.2"]
_NAMES = [b"Content-Length", b"Transfer-Encoding", b"Connection", b"X", b"Expect", b"content-length", b"Host"]
_VALUES = [b"5", b"chunked", b"close", b"keep-alive", b"0", b"05", b"+5", b"5, 5", b"Chunked", b"identity"]
_VALUES += [b"gzip, chunked", b"100-continue", b"test", b"", b"\x0b5", b"a\xe4"]
_FRAMINGS = [b"Transfer-Encoding: chunked", b"Content-Length: 5", b"X: y", b"Transfer-Encoding:chunked\t"]
_CHUNKS = [b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"a;b\r\n0123456789\r\n", b"5 \r\nhello\r\n"]
_CHUNKS += [b" 5\r\nhello\r\n", b"5\nhello\r\n", b"0x5\r\nhello\r\n", b"0\r\nX : y\r\n\r\n", b'5;a="\r\n"\r\nhello\r\n']
_CHUNKS += [b"hello", b"GET / HTTP/1.1\r\n\r\n"]
_BYTES = [b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\x0b", b",", b":", b";", b"0", b"5", b"a", b"\xa0", b"\x85"]
_FIELDS = st.tuples(st.sampled_from(_NAMES), st.sampled_from(_VALUES)).map(b": ".join)
_EDITS = st.tuples(st.integers(0, 120), st.integers(0, 2), st.sampled_from(_BYTES))  # where, bytes to drop, to put in


@st.composite
def _streams(draw: st.DrawFn) -> bytes:
    """A request that is mostly a right one, what comes behind, and a few bytes of it changed."""
    lines = [draw(st.sampled_from(_STARTS)), b"Host: test", draw(st.sampled_from(_FRAMINGS))]
    lines += draw(st.lists(_FIELDS, max_size=2))
    stream = b"\r\n".join(lines) + b"\r\n\r\n" + b"".join(draw(st.lists(st.sampled_from(_CHUNKS), max_size=4)))
    for at, dropped, put in draw(st.lists(_EDITS, max_size=2)):
        stream = stream[:at] + put + stream[at + dropped :]
    return stream


def test_random_requests_end_where_another_parser_ends_them(http1: Any) -> None:
    taken = 0

    @settings(max_examples=_EXAMPLES, deadline=None, database=None, derandomize=True)
    @given(_streams())
    def run(stream: bytes) -> None:
        nonlocal taken
        taken += _compare(http1, stream)

    run()
    assert taken > _EXAMPLES // 10  # else nothing was compared


def test_cases_end_where_another_parser_ends_them(http1: Any) -> None:
    assert sum(_compare(http1, case.stream) for case in CASES) > 80


def test_a_body_is_the_same_in_any_pieces(http1: Any) -> None:
    """Whole, and cut in two at each byte: the same body, rest or refusal."""
    for case in CASES:
        head, _, stream = case.stream.partition(b"\r\n\r\n")
        if b"chunked\r\n" not in head + b"\r\n" or len(stream) > 400:
            continue
        results = {str(_feed(http1, [stream[:cut], stream[cut:]])) for cut in range(len(stream) + 1)}
        assert len(results) == 1, (case, results)


def _feed(http1: Any, pieces: list[bytes]) -> object:
    body, done, rest = http1.Body(-1, _LIMIT), False, b""
    try:
        for piece in pieces:
            if done:
                rest += piece
            elif rest + piece:
                done, rest = body.feed(rest + piece)
    except http1.HttpError as exc:
        return exc.status
    return done, bytes(body.data), bytes(rest)


def test_the_target_decides_about_the_host(http1: Any) -> None:
    """RFC 9112, section 3.2.2; RFC 9110, section 7.4."""
    for target, host in ((b"http://a", b"a"), (b"HTTP://a:80/x", b"a:80"), (b"/", b"b"), (b"/?http://a/", b"b")):
        assert http1.parse_head(b"GET " + target + b" HTTP/1.1\r\nHost: b").fields[b"host"] == host
    secure = b"GET https://a/x?y HTTP/1.1\r\nHost: b"
    head = http1.parse_head(secure, True)
    assert (head.fields[b"host"], head.path, head.query) == (b"a", "/x", b"y")
    with pytest.raises(http1.HttpError) as caught:
        http1.parse_head(secure)
    assert caught.value.status == 421
