# SPDX-License-Identifier: MIT
"""modules/http/httppass.c beside images/web's own parsers: what it passes, they pass, with the same meaning. Whatever
comes, it stays within its buffers."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build
from tests.support.imagecode import imported

GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
OK = b"HTTP/1.1 200 OK\r\nDate: d\r\n"
WHOLE = OK + b"Content-Length: 3\r\n\r\nabc"


@pytest.fixture(scope="module")
def h(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(build(tmp_path_factory.mktemp("httppass"), "httppass")) as harness:
        yield harness


@pytest.fixture(scope="module")
def image() -> Iterator[Any]:
    """The parsers of the guest."""
    folder = ROOT / "images" / "web"
    with (
        imported(folder, "http1") as http1,
        imported(folder, "forward") as forward,
        imported(folder, "answers") as answers,
    ):
        yield SimpleNamespace(http1=http1, forward=forward, answers=answers)


def request(h: Harness, head: bytes) -> bytes | None:
    said = h.do("request", head.hex() or "-")
    return None if said == "none" else bytes.fromhex(said)


def answer(h: Harness, data: bytes) -> tuple[int, int, bytes] | None:
    said = h.do("answer", data.hex() or "-").split()
    return None if said == ["none"] else (int(said[0]), int(said[1]), bytes.fromhex(said[2]))


def test_a_request_is_written_anew(h: Harness) -> None:
    head = (
        b"GET /a%20b;c=.d/...?e=%2e/../\\ HTTP/1.1\r\nhOST: \tx.y-1:80 \r\nAccept:\t*/*\r\nConnection: Keep-Alive\r\n"
    )
    head += b"Keep-Alive: 3\r\nX-Forwarded-For: 1\r\nforwarded: for=1\r\nTE: trailers\r\nCOOKIE:a=b; c\r\nX: \xe4\r\nX:\r\n\r\n"
    passed = b"GET /a%20b;c=.d/...?e=%2e/../\\ HTTP/1.1\r\nhost: x.y-1:80\r\naccept: */*\r\ncookie: a=b; c\r\nx: \xe4\r\nx: \r\n"
    assert request(h, head) == passed + b'<x.y-1:80|"x.y-1:80">'
    assert request(h, GET + b"\r\n") == b"GET / HTTP/1.1\r\nhost: h\r\n<h|h>"
    assert request(h, GET + b"A: b\r\n" * 63 + b"\r\n") is not None


_LINES = [
    b"A", b": b", b"A : b", b" A: b", b"A: \0", b"A: b\rc", b"A: \x7f", b"A(: b", b"\xe4: b", b"A: b\n", b"Host: h",
    b"Cookie: a\r\nCookie: b", b"Connection: close", b"Connection: x", b"Connection: keep-alive, x", b"Connection: ",
    b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Upgrade: x", b"Via: 1.0 x", b"Expect: 100-continue",
]  # fmt: skip


@pytest.mark.parametrize(
    "head",
    [
        b"", b"GET", GET, GET[:-1], GET + b"\r", GET + b"\r\nG", b"HEAD" + GET[3:] + b"\r\n", b"get" + GET[3:] + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\nHost: h\r\n\r\n", b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n",
        *(GET + line + b"\r\n\r\n" for line in _LINES),
        *(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n" for target in (
            b"/.", b"/..", b"/../a", b"/a/./b", b"/a/..?b", b"/%2e", b"/a%2Fb", b"/%5c", b"/\\", b"/%", b"/%1", b"/%xx", b"/%00",
            b"/%80", b"*", b"http://h/", b"a", b"/#", b"/\x7f", b"/\xe4", b"/" + b"a" * 2048)),
        *(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" for host in (
            b"", b"a b", b"a:", b":80", b"a:b", b"a:1:2", b"[::1]", b"a@b", b"a/b", b"\xe4", b"a,b")),
        GET + b"A: b\r\n" * 64 + b"\r\n", GET + b"A: %b\r\n\r\n" % (b"a" * 8192),
    ],
)  # fmt: skip
def test_what_is_no_plain_request(h: Harness, head: bytes) -> None:
    assert request(h, head) is None


def test_an_answer_passes_as_it_is(h: Harness) -> None:
    assert answer(h, WHOLE) == (200, 3, WHOLE)
    empty = b"HTTP/1.1 404 \r\ndate:\r\nCONTENT-LENGTH: 000 \r\nSet-Cookie: a\r\nSet-Cookie: b\r\nVia: x\r\n\r\n"
    assert answer(h, empty) == (404, 0, empty)
    marked = WHOLE.replace(b"Content", b"Connection: Keep-Alive\r\nX: y\r\nkeep-alive: timeout=9\r\nContent")
    assert answer(h, marked) == (200, 3, WHOLE.replace(b"Content", b"X: y\r\nContent"))


_FRAMING = [
    b"Content-Length: 2", b"Content-Length: 4", b"Content-Length: ", b"Content-Length: +3", b"Content-Length: 3, 3",
    b"Content-Length: 3\r\nContent-Length: 3", b"Content-Length: " + b"0" * 15 + b"3", b"Transfer-Encoding: chunked", b"X: y",
    *(b"Content-Length: 3\r\n" + line for line in (
        b"Connection: close", b"Connection: keep-alive, x", b"Connection: x", b"Upgrade: h2c", b"TE: x", b"Trailer: x",
        b"Proxy-Connection: x", b"Transfer-Encoding: x", b"X", b"X : y", b" X: y", b"X: \0", b"X: a\rb", b": x",
        b"Connection: keep-alive\r\n" * 2 + b"Keep-Alive: x")),
]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"", WHOLE[:-1], WHOLE + b"x", WHOLE.replace(b"Date", b"Dat"), WHOLE.replace(b"\r\n", b"\n"), b" " + WHOLE,
        *(WHOLE.replace(b"HTTP/1.1 200 OK", line) for line in (
            b"HTTP/1.0 200 OK", b"HTTP/2 200 OK", b"HTTP/1.1 100 x", b"HTTP/1.1 204 x", b"HTTP/1.1 304 x", b"HTTP/1.1 600 x",
            b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 200", b"HTTP/1.1 2x0 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 200 \x01")),
        *(OK + lines + b"\r\n\r\nabc" for lines in _FRAMING),
        OK + b"X: y\r\n" * 99 + b"Content-Length: 3\r\n\r\nabc",
    ],
)  # fmt: skip
def test_what_is_no_plain_answer(h: Harness, data: bytes) -> None:
    assert answer(h, data) is None


_NAMES = st.sampled_from(
    [b"Host", b"COOKIE", b"X-A", b"te", b"Connection", b"Date", b"Via", b"Content-Length", b"x-b", b"A!"]
)
_VALUES = st.sampled_from([b"", b"a", b"a b", b"\ta\t", b"a\tb ", b"\xe4", b"3", b"keep-alive", b"x" * 200, b"a:b"])
_FIELDS = st.lists(st.tuples(_NAMES, st.sampled_from([b":", b": ", b":\t ", b" :"]), _VALUES), max_size=6)
_TARGETS = st.sampled_from(
    [b"/", b"/a", b"/a?b", b"/a%2f", b"/..", b"/a/.b?c?d", b"/%41", b"//", b"/%", b"/\xff", b"*"]
)
_DAMAGE = st.lists(st.tuples(st.integers(0, 120), st.binary(max_size=2)), max_size=2)


def _made(start: bytes, fields: list[tuple[bytes, bytes, bytes]], damage: list[tuple[int, bytes]], end: bytes) -> bytes:
    made = start + b"".join(name + colon + value + b"\r\n" for name, colon, value in fields) + end
    for at, what in damage:
        made = made[:at] + what + made[at + 1 :]
    return made


@given(_TARGETS, _FIELDS, _DAMAGE)
@settings(deadline=None, max_examples=1500)
def test_requests_beside_the_parser(
    h: Harness, image: Any, target: bytes, fields: list[tuple[bytes, bytes, bytes]], damage: list[tuple[int, bytes]]
) -> None:
    raw = _made(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n", fields, damage, b"\r\n")
    found = request(h, raw)
    if found is None:
        return
    head = image.http1.parse_head(raw[:-4])
    assert (head.minor, head.length, head.keep_alive, head.expects) == (1, 0, True, False)
    start, after = image.forward.request_head(head, SimpleNamespace(host="", strip=b"", trust=False), False)
    forwarded, plain, (before, between, behind) = image.forward.client_words("1.2.3.4", False)
    host = head.fields[b"host"]
    quoted = b'"%b"' % host if b":" in host else host
    tail = b"<" + host + b"|" + quoted + b">"
    assert found.endswith(tail)
    found = found[: -len(tail)] + before + host + between + quoted + behind
    ours = image.http1.parse_head(found[:-4])
    theirs = image.http1.parse_head(start + forwarded + after + plain)
    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    blanks = [{name: value.replace(b" ", b"") for name, value in each.fields.items()} for each in (ours, theirs)]
    assert blanks[0] == blanks[1]  # where empty values are joined


@given(st.sampled_from([b"200 OK", b"500 ", b"304 x"]), _FIELDS, _DAMAGE)
@settings(deadline=None, max_examples=1500)
def test_answers_beside_the_parser(
    h: Harness, image: Any, status: bytes, fields: list[tuple[bytes, bytes, bytes]], damage: list[tuple[int, bytes]]
) -> None:
    start = b"HTTP/1.1 " + status + b"\r\nDate: d\r\nContent-Length: 3\r\n"
    found = answer(h, _made(start, fields, damage, b"\r\nabc"))
    if found is None:
        return
    raw, _, body = _made(start, fields, damage, b"\r\nabc").partition(b"\r\n\r\n")
    left, _, passed = found[2].partition(b"\r\n\r\n")
    theirs = image.answers.parse_answer(raw, "GET")
    ours = image.answers.parse_answer(left, "GET")
    assert (theirs.status, theirs.length, theirs.keep, theirs.dated, theirs.bare) == (*found[:2], True, True, False)
    assert (ours.status, ours.length, ours.fields, passed) == (theirs.status, theirs.length, theirs.fields, body)
    assert b"\r\nconnection" not in left.lower()
