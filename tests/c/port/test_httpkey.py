# SPDX-License-Identifier: MIT
"""modules/http/httpkey.c: what has a key is valid by images/web's own parser, and two heads of one key differ only in
what no file's answer depends on. Whatever comes, it stays within its buffers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build
from tests.support.imagecode import imported

KEY_MAX = 512
DECIDING = [
    "host", "connection", "accept-encoding", "if-none-match", "if-modified-since", "if-match", "if-range", "range", "expect",
    "if-unmodified-since", "upgrade", "authorization", "transfer-encoding", "content-length", "te",
]  # fmt: skip
REFUSED = (
    "bad percent-encoding", "bad path", "the path is not UTF-8", "no Host header field", "bad Host header field",
    "contradicting header fields",
)  # fmt: skip
GET = b"GET / HTTP/1.1\r\n"


@pytest.fixture(scope="module")
def h(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(build(tmp_path_factory.mktemp("httpkey"), "httpkey")) as harness:
        yield harness


@pytest.fixture(scope="module")
def http1() -> Iterator[Any]:
    """The parser of the guest."""
    with imported(ROOT / "images" / "web", "http1") as module:
        yield module


def key(h: Harness, head: bytes) -> bytes | None:
    said = h.do("key", head.hex() or "-")
    return None if said == "none" else bytes.fromhex(said)


def test_what_a_key_holds(h: Harness) -> None:
    head = b"GET /a%20b?c=d HTTP/1.1\r\nhOST: x \r\nCookie: 1\r\nUser-Agent: y\r\nRange:\t bytes=0-1\t\r\n\r\n"
    assert key(h, head) == b"G/a%20b\nAx\nHbytes=0-1"
    assert key(h, head.replace(b"GET", b"HEAD")) == b"H/a%20b\nAx\nHbytes=0-1"
    assert key(h, head.replace(b"Cookie: 1", b"Cookie: 2").replace(b"c=d", b"e?f")) == key(h, head)
    for number, name in enumerate(DECIDING):
        one = GET + name.upper().encode() + b": v, w\r\n\r\n"
        assert key(h, one) == b"G/\n%cv, w" % (ord("A") + number)
        assert key(h, one.replace(b":", b"x:")) == b"G/"


@pytest.mark.parametrize(
    "head",
    [
        b"", b"G", GET, GET[:-1], GET + b"\r", GET + b"\r\n\r\n", GET + b"\r\nG", b"get / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"GET /  HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n", b"GET * HTTP/1.1\r\n\r\n", b"GET http://x/ HTTP/1.1\r\n\r\n", b"GET HTTP/1.1\r\n\r\n",
        b"GET /#a HTTP/1.1\r\n\r\n", b"GET /\x7f HTTP/1.1\r\n\r\n", b"GET /\xe4 HTTP/1.1\r\n\r\n", b"GET /\t HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\n\n", GET + b"A: b\n\r\n", GET + b"A: b\r\r\n\r\n", GET + b" A: b\r\n\r\n", GET + b"A : b\r\n\r\n",
        GET + b"A: b\r\n c\r\n\r\n", GET + b": b\r\n\r\n", GET + b"A\r\n\r\n", GET + b"A: \0\r\n\r\n", GET + b"A: \x7f\r\n\r\n",
        GET + b"A(: b\r\n\r\n", GET + b"\xe4: b\r\n\r\n", GET + b"A: b\r\n" * 65 + b"\r\n",
        b"GET /" + b"a" * 2048 + b" HTTP/1.1\r\n\r\n", b"GET /?" + b"a" * 2047 + b" HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
def test_what_has_none(h: Harness, head: bytes) -> None:
    assert key(h, head) is None


def test_the_longest(h: Harness) -> None:
    path = b"/" + b"a" * (KEY_MAX - 2)
    assert key(h, b"GET %s HTTP/1.1\r\n\r\n" % path) == b"G" + path
    assert key(h, b"GET %sa HTTP/1.1\r\n\r\n" % path) is None
    assert key(h, b"GET %s HTTP/1.1\r\nTE: \r\n\r\n" % path[:-2]) == b"G" + path[:-2] + b"\nO"
    assert key(h, b"GET %s HTTP/1.1\r\nTE: \r\n\r\n" % path[:-1]) is None
    assert key(h, GET + b"A: b\r\n" * 64 + b"\r\n") == b"G/"
    assert key(h, b"GET /?%s HTTP/1.1\r\n\r\n" % (b"a" * 2046)) == b"G/"
    assert key(h, GET + b"Cookie: %s\r\n\r\n" % (b"c" * 4000)) == b"G/"


_NAMES = st.sampled_from(
    [b"Host", b"HOST", b"Range", b"Cookie", b"X-A", b"te", b"If-Range", b"If-Rang", b"A!#$%&'*+.^_`|~1"]
)
_VALUES = st.sampled_from([b"", b"a", b"a b", b"\ta\t", b"a\tb ", b"\xe4", b"x" * 200, b"a:b", b"bytes=0-1"])
_FIELDS = st.lists(st.tuples(_NAMES, st.sampled_from([b":", b": ", b":\t ", b" :"]), _VALUES), max_size=8)
_TARGETS = st.sampled_from(
    [b"/", b"/a", b"/a?b", b"/?", b"/a%2f", b"/a?b?c", b"/;'", b"*", b"//", b"/%", b"/\xff", b"/" + b"z" * 450]
)
_DAMAGE = st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=2)), max_size=2)


@given(st.sampled_from([b"GET ", b"HEAD ", b"PUT "]), _TARGETS, _FIELDS, _DAMAGE)
@settings(deadline=None, max_examples=1500)
def test_beside_the_parser(
    h: Harness,
    http1: Any,
    method: bytes,
    target: bytes,
    fields: list[tuple[bytes, bytes, bytes]],
    damage: list[tuple[int, bytes]],
) -> None:
    lines = b"".join(name + colon + value + b"\r\n" for name, colon, value in fields)
    head = method + target + b" HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n"
    for at, what in damage:
        head = head[:at] + what + head[at + 1 :]
    found = key(h, head)
    if found is None:
        return
    assert head.count(b"\r\n\r\n") == 1 and head.endswith(b"\r\n\r\n")
    path, *deciding = found.split(b"\n")
    raw = [line.partition(b":") for line in head[:-4].split(b"\r\n")[1:]]
    expected = [
        (name.lower(), value.strip(b" \t")) for name, _, value in raw if name.lower().decode("latin-1") in DECIDING
    ]
    assert [(DECIDING[entry[0] - ord("A")].encode(), entry[1:]) for entry in deciding] == expected
    assert path[1:] == head.split(b" ")[1].partition(b"?")[0]
    try:
        parsed = http1.parse_head(head[:-4])
    except http1.HttpError as exc:
        # The path, the host and what is there twice are the parser's: what has the same key is refused again.
        assert exc.detail in REFUSED, exc.detail
        return
    assert (parsed.method[:1].encode(), parsed.minor) == (path[:1], 1)
