# SPDX-License-Identifier: MIT
"""images/web endures: hostile clients, slow ones, many of them; and it stops in order."""

from __future__ import annotations

import concurrent.futures
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from floe.stream.keys import INTERRUPT
from floe.testing import Boot
from tests.boot.rawhttp import RawHttp, exchange
from tests.boot.webguest import (
    CALM_S,
    CHUNKED,
    DATA,
    HOST,
    POST,
    POST_NOTE,
    SETTLE_S,
    BootWeb,
    Web,
    get,
    serve,
    status_of,
)


@pytest.fixture
def boot_web(boot: Boot) -> Iterator[BootWeb]:
    yield from serve(boot)


@pytest.fixture
def web(boot_web: BootWeb) -> Web:
    return boot_web({})


# ---- hostile clients --------------------------------------------------------------------------------

MALFORMED = {
    "no version": (400, b"GET /\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "blank in the target": (400, b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "control character in the target": (400, b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "not ASCII in the target": (400, b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "fragment": (400, b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n"),
    "bad escape": (400, b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n"),
    "cut escape": (400, b"GET /%4 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "escaped NUL": (400, b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "escaped non-UTF-8": (400, b"GET /%ff HTTP/1.1\r\n" + HOST + b"\r\n"),
    "relative target": (400, b"GET index.html HTTP/1.1\r\n" + HOST + b"\r\n"),
    "asterisk": (400, b"GET * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "bad method": (400, b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "lower-case version": (400, b"GET / http/1.1\r\n" + HOST + b"\r\n"),
    "version without minor": (400, b"GET / HTTP/1 \r\n" + HOST + b"\r\n"),
    "bare line feeds": (400, b"GET / HTTP/1.1\nHost: test\n\n"),
    "one bare line feed": (400, b"GET / HTTP/1.1\r\nHost: test\nX: y\r\n\r\n"),
    "bare carriage return": (400, b"GET / HTTP/1.1\r\nHost: te\rst\r\n\r\n"),
    "NUL in a field": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: \0\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    "blank before the colon": (400, b"GET / HTTP/1.1\r\nHost : test\r\n\r\n"),
    "folded line": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n"),
    "empty name": (400, b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n"),
    "negative length": (400, POST + b"Content-Length: -1\r\n\r\n"),
    "signed length": (400, POST + b"Content-Length: +1\r\n\r\nx"),
    "length list": (400, POST + b"Content-Length: 1, 1\r\n\r\nx"),
    "two lengths": (400, POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    "length and chunked": (400, POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "bad chunk size": (400, CHUNKED + b"x\r\n"),
    "negative chunk size": (400, CHUNKED + b"-1\r\n"),
    "huge chunk size": (400, CHUNKED + b"f" * 20 + b"\r\n"),
    "chunk data too long": (400, CHUNKED + b"1\r\nxxxx"),
    "endless chunk line": (400, CHUNKED + b"1;" + b"x" * 600),
    "chunked body too large": (413, CHUNKED + b"fffff\r\n"),
    "body too large": (413, POST + b"Content-Length: 99999999\r\n\r\n"),
    "target too long": (414, b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "endless target": (414, b"GET /" + b"a" * 5000),
    "header too large": (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n"),
    "endless header": (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 2000),
    "too many fields": (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 100 + b"\r\n"),
    "trailers too long": (431, CHUNKED + b"0\r\n" + b"X: y\r\n" * 2000),
    "unknown method": (501, b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "CONNECT": (501, b"CONNECT test:80 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "unknown coding": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, bytes.fromhex("16030100eb010000e70303") + b"\n" * 40 + b"\r\n\r\n"),
}


# What another reader of the same bytes could take for another request.
SMUGGLED = {
    "bell in a field": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x07b\r\n\r\n",
    "DEL in a field": b"GET / HTTP/1.1\r\n" + HOST + b"X: \x7f\r\n\r\n",
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with a user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "Host with a bad port": b"GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n",
    "Host of two": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "Host with an open bracket": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "no host in the target": b"GET http:///x HTTP/1.1\r\n" + HOST + b"\r\n",
    "line feed in a chunk extension": CHUNKED + b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "carriage return in a chunk extension": CHUNKED + b"1;a\rb\r\nx\r\n0\r\n\r\n",
    "line feed in a trailer": CHUNKED + b"0\r\nX: y\nZ: z\r\n\r\n",
    "trailer without a colon": CHUNKED + b"0\r\nnonsense\r\n\r\n",
    "trailer with a blank in its name": CHUNKED + b"0\r\nX : y\r\n\r\n",
}
HOSTS = (b"a", b"a:80", b"a:", b"127.0.0.1:8080", b"[::1]", b"[::1]:80", b"x_y.%41~")


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(web: Web, case: str) -> None:
    status, stream = MALFORMED[case]
    more = b"" if case.startswith("endless") else b"GET /robots.txt HTTP/1.1\r\nHost: smuggled\r\n\r\n"
    answer, closed = exchange(web.port, stream, more)
    assert (answer.status, closed) == (status, True)
    assert answer.fields["connection"] == "close"
    assert get(web.port, "/robots.txt").status == 200


def test_smuggled(web: Web) -> None:
    more = b"GET /robots.txt HTTP/1.1\r\nHost: smuggled\r\n\r\n"
    for case, stream in SMUGGLED.items():
        answer, closed = exchange(web.port, stream, more)
        assert (answer.status, closed) == (400, True), case
    for host in HOSTS:
        answer, _ = exchange(web.port, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nX: a\tb\xe4\r\n\r\n")
        assert answer.status == 200, host
    good = CHUNKED.replace(b"POST /", b"POST /api/notes").replace(HOST, HOST + b"Content-Type: application/json\r\n")
    answer, _ = exchange(web.port, good + b'd;a="b"\r\n{"text": "x"}\r\n0\r\nX: y\r\n\r\n')
    assert answer.status == 201


def test_slow_and_idle_clients(boot_web: BootWeb) -> None:
    web = boot_web({"IDLE_S": "2", "HEAD_S": "3"})
    clients = [RawHttp(web.port) for _ in range(3)]
    idle, slow, used = clients
    start = time.monotonic()
    used.get("/")
    slow.send(b"GET / HTTP/1.1\r\nHost: te")
    assert idle.at_end()
    assert used.at_end()
    assert 1.5 < time.monotonic() - start < 6
    slow.send(b"st\r\nX: ")  # more bytes do not buy more time
    assert slow.answer().status == 408
    assert time.monotonic() - start < 8
    for client in clients:
        client.sock.close()


def test_slowloris_does_not_lock_others_out(boot_web: BootWeb) -> None:
    web = boot_web({"MAX_CONNECTIONS": "40", "HEAD_S": "3"})
    clients = [RawHttp(web.port, timeout_s=20) for _ in range(10)]
    for _ in range(50):
        time.sleep(CALM_S)
        clients.append(RawHttp(web.port, timeout_s=20))
        clients[-1].send(b"GET / HTTP/1.1\r\nX: ")
    start = time.monotonic()
    assert get(web.port, "/").status == 200
    assert time.monotonic() - start < 10
    for client in clients:
        client.sock.close()


def test_the_address_that_holds_most_gives_way(boot_web: BootWeb) -> None:
    """Heads and bodies that never end fill the server again and again; who asks in between is answered at once."""
    web = boot_web({"MAX_CONNECTIONS": "40", "HEAD_S": "60"})
    clients = []
    for turn in range(120):
        time.sleep(CALM_S)
        clients.append(RawHttp(web.port, timeout_s=20))
        clients[-1].send(POST + b"Content-Length: 9\r\n\r\n" if turn % 2 else b"GET / HTTP/1.1\r\nX: ")
        if turn % 10 == 9:
            start = time.monotonic()
            assert get(web.port, "/").status == 200
            assert time.monotonic() - start < 2
    assert status_of(web.port)["connections"] <= 30  # of one address: three quarters
    for client in clients:
        client.sock.close()


# ---- many connections -------------------------------------------------------------------------------


def test_200_parallel_connections(web: Web) -> None:
    clients = []
    for _ in range(200):
        clients.append(RawHttp(web.port, timeout_s=30))
        assert clients[-1].get("/").status == 200
    for _ in range(3):
        for client in clients:
            client.send(b"GET /style.css HTTP/1.1\r\n" + HOST + b"\r\n")
        for client in clients:
            assert client.answer().body == (DATA / "style.css").read_bytes()
    assert status_of(web.port)["connections"] >= 200
    for client in clients:
        client.sock.close()


def test_2000_connections_one_after_the_other(web: Web) -> None:
    def run(count: int) -> None:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: get(web.port, "/robots.txt").status, range(count))) == {200}

    run(1000)  # tables grow to their size
    before = settled(web.port)
    run(2000)
    after = settled(web.port)
    assert after["accepted"] - before["accepted"] >= 2000
    assert after["ram_free"] == before["ram_free"]
    for key in ("gc_used", "c_used"):  # tables may grow; 2000 times the smallest object would be 64 KB
        assert after[key] - before[key] <= 4096, (before, after)


def settled(port: int) -> dict[str, int]:
    """The status' memory figures once all connections but our own are gone."""
    deadline = time.monotonic() + 20
    while (status := status_of(port))["connections"] != 1:
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    memory = status["memory"]
    assert isinstance(memory, dict)
    return {**memory, "accepted": status["accepted"]}


def test_wrk(web: Web) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("SKIP: wrk is not installed")
    for path in ("/", "/api/notes"):
        argv = ["wrk", "-t1", "-c32", "-d3", f"http://127.0.0.1:{web.port}{path}"]
        text = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
        count = re.search(r"(\d+) requests in", text)
        assert count is not None and int(count[1]) > 100, text
        assert "Socket errors" not in text and "Non-2xx" not in text, text


def test_curl(web: Web) -> None:
    if shutil.which("curl") is None:
        pytest.skip("SKIP: curl is not installed")
    base = f"http://127.0.0.1:{web.port}"
    argv = ["curl", "-sS", "-m", "20", "-w", "%{http_code}", "-o", "/dev/null"]
    large = ["-H", "Content-Type: application/json", "-d", json.dumps({"text": "y" * 3000})]
    for options, status in (
        (["/"], 200),
        (["-I", "/logo.svg"], 200),
        (["-X", "BREW", "/"], 501),
        ([*large, "/api/notes"], 201),
        (["-X", "DELETE", "/"], 405),
    ):
        done = subprocess.run(
            [*argv, *options[:-1], base + options[-1]], capture_output=True, text=True, timeout=30, check=True
        )
        assert done.stdout == str(status)


# ---- the end ----------------------------------------------------------------------------------------


def test_graceful_stop(boot_web: BootWeb) -> None:
    web = boot_web({})
    idle = RawHttp(web.port)
    idle.get("/")
    busy = RawHttp(web.port)
    busy.send(POST_NOTE + b"Content-Length: 15\r\n\r\n", b'{"text"')
    time.sleep(0.3)
    web.vm.send(INTERRUPT)
    web.vm.expect_exact("stopping", timeout=SETTLE_S)
    assert idle.at_end()
    with pytest.raises((OSError, EOFError)):  # QEMU's forwarding accepts, the guest refuses
        RawHttp(web.port, timeout_s=2).get("/")
    busy.send(b': "end"}')
    answer = busy.answer()
    assert (answer.status, answer.fields["connection"]) == (201, "close")
    assert busy.at_end()
    assert web.vm.wait() == 0
    assert "0 connections cut" in web.vm.console_text


def test_stop_is_bounded(boot_web: BootWeb) -> None:
    web = boot_web({})
    with RawHttp(web.port) as stuck:
        stuck.send(b"GET / HTTP/1.1\r\n")
        time.sleep(0.3)
        start = time.monotonic()
        text = web.ends_with(0)
        assert 4 < time.monotonic() - start < 12
    assert "1 connections cut" in text
