# SPDX-License-Identifier: MIT
"""images/microdot: the framework from PyPI routes, parses JSON and handles errors inside a VM, and bears what is sent to it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress

import pytest

from floe.stream.keys import INTERRUPT
from floe.testing import Boot, Guest
from tests.boot.rawhttp import Answer, RawHttp
from tests.boot.webcases import CASES


@pytest.fixture
def guest(boot: Boot) -> Iterator[Guest]:
    vm = boot("microdot", deadline_s=60, ports=[80])
    vm.expect_exact("serving on port 80")
    yield vm
    assert "PANIC" not in vm.console_text


def post(port: int, path: str, body: bytes, kind: str = "application/json") -> Answer:
    head = f"POST {path} HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    with RawHttp(port) as client:
        client.send(head.encode() + body)
        return client.answer()


def get(port: int, path: str) -> Answer:
    with RawHttp(port) as client:
        return client.get(path)


def test_routes(guest: Guest) -> None:
    port = guest.ports[80]
    index = get(port, "/")
    assert (index.status, index.fields["content-type"]) == (200, "text/plain; charset=utf-8")
    assert b"Microdot" in index.body
    for visits in (1, 2, 3):
        assert json.loads(get(port, "/hello/ann").body) == {"hello": "ann", "visits": visits}
    assert json.loads(get(port, "/divide/7/2").body) == {"quotient": 3}


def test_json_body(guest: Guest) -> None:
    port = guest.ports[80]
    assert json.loads(post(port, "/sum", b"[1, 2, 39]").body) == {"sum": 42}
    assert post(port, "/sum", b'{"a": 1}').status == 422


def test_errors(guest: Guest) -> None:
    port = guest.ports[80]
    missing = get(port, "/nothing")
    assert (missing.status, json.loads(missing.body)["path"]) == (404, "/nothing")
    zero = get(port, "/divide/1/0")
    assert (zero.status, json.loads(zero.body)) == (400, {"error": "division by zero"})
    assert get(port, "/divide/one/0").status == 404
    assert post(port, "/", b"[]").status == 405
    assert get(port, "/").status == 200


def said_to(port: int, stream: Iterable[bytes]) -> bytes:
    """All that is answered to a stream that ends, until the connection does."""
    with RawHttp(port, timeout_s=60) as client, suppress(ConnectionError):
        with suppress(OSError):  # it may be closed before all is sent
            for piece in stream:
                client.send(piece)
            client.sock.shutdown(socket.SHUT_WR)
        return client.rest()
    return b""


def test_a_request_is_all_of_a_connection(guest: Guest) -> None:
    """So none can be hidden behind another one, whatever that says of its end."""
    port = guest.ports[80]
    hidden = b"GET /hello/hidden HTTP/1.1\r\nHost: test\r\n\r\n"
    for case in CASES:
        assert said_to(port, [case.stream, hidden]).count(b"HTTP/1.") <= 1, case
    assert json.loads(get(port, "/hello/hidden").body)["visits"] == 1


@pytest.mark.any_accel
def test_bounds(guest: Guest) -> None:
    port = guest.ports[80]
    assert said_to(port, [b"POST /sum HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"]).startswith(b"HTTP/1.0 413 ")
    assert b" 200 " not in said_to(port, (b"a" * 65536 for _ in range(1000)))  # a line of twice the VM's memory
    fields = (b"".join(b"X-%d-%d: y\r\n" % (piece, number) for number in range(2000)) for piece in range(500))
    assert b" 200 " not in said_to(port, [b"GET / HTTP/1.1\r\n", *fields])
    clients = [RawHttp(port) for _ in range(200)]  # who say nothing
    assert get(port, "/").status == 200
    for client in clients:
        client.sock.close()
    assert get(port, "/").status == 200


def test_ctrl_c_ends_it(guest: Guest) -> None:
    assert get(guest.ports[80], "/").status == 200
    guest.send(INTERRUPT)
    assert guest.wait() == 0
    assert "stopped" in guest.console_text
