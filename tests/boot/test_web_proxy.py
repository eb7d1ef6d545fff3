# SPDX-License-Identifier: MIT
"""images/web as a reverse proxy: what goes to an upstream and back, upstreams that fail, lie or leave, its control."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from floe.testing import Boot
from tests.boot.rawhttp import RawHttp, exchange
from tests.boot.webguest import get
from tests.boot.webproxy import CHUNKED, DATED, GET, OK, BootProxy, Proxy, until
from tests.boot.webupstream import Conversation, Upstream

# ---- there and back ---------------------------------------------------------------------------------


def _slow(talk: Conversation) -> None:
    time.sleep(0.7)
    talk.say(DATED + b"Connection: keep-alive\r\nContent-Length: 4\r\nKeep-Alive: timeout=9\r\n\r\nslow")
    talk.keep = True


def _early_hints(talk: Conversation) -> None:
    talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
    talk.say(OK + b"Content-Length: 2\r\n\r\nok")
    talk.keep = True


def _websocket(talk: Conversation) -> None:
    talk.say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
    while data := talk.sock.recv(1000):
        talk.say(data.upper())
        if data == b"bye":
            return


def _sum(talk: Conversation) -> None:
    said = hashlib.sha256(talk.body).hexdigest().encode()
    talk.say(OK + b"Content-Length: %d\r\n\r\n" % len(said) + said)
    talk.keep = True


def _big(talk: Conversation) -> None:
    talk.say(OK + b"Content-Length: 3000000\r\n\r\n", *[b"0123456789" * 1000] * 300)
    talk.keep = True


def _chunks(talk: Conversation) -> None:
    talk.say(CHUNKED + b"3;x\r\nabc\r\n", b"4\r\ndefg\r")
    time.sleep(0.1)
    talk.say(b"\n0\r\nX: y\r\n\r\n")
    talk.keep = True


class Held:
    """Says so when it is asked, and its answer when it is told to, piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.asked = threading.Event()
        self.go = threading.Event()

    def __call__(self, talk: Conversation) -> None:
        self.asked.set()
        assert self.go.wait(30)
        for piece in self.pieces:
            talk.say(piece)
            time.sleep(0.1)
        talk.keep = True


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GOOD: dict[str, bytes | Callable[[Conversation], None]] = {
    "/slow": _slow,
    "/hints": _early_hints,
    "/socket": _websocket,
    "/sum": _sum,
    "/big": _big,
    "/chunks": _chunks,
    "/close": b"HTTP/1.0 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
    "/none": b"HTTP/1.1 204 No Content\r\nConnection: close, X-Inner\r\nX-Inner: 1\r\nKeep-Alive: 9\r\nX-Outer: 1\r\n\r\n",
    "/moved": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 55\r\nETag: x\r\n\r\n",
}


def _until_closed(talk: Conversation) -> None:
    talk.say(b"HTTP/1.0 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n", b"until ")
    time.sleep(0.1)
    talk.say(b"the end")


def test_there_and_back(boot_proxy: BootProxy) -> None:
    interim = Held(CONTINUE, CONTINUE, OK + b"Content-Length: 2\r\n\r\nok")
    last = Held(DATED + b"Content-Length: 4\r\n\r\nlast")
    with Upstream("one", {**GOOD, "/close": _until_closed, "/interim": interim, "/last": last}) as one:
        proxy = boot_proxy(one)
        _check_request(proxy)
        _check_answers(proxy)
        _check_bodies(proxy, one)
        _check_tunnel(proxy)
        _check_reset_before_interim(proxy, interim)
        _check_plain_ones(proxy)
        _check_the_end(proxy, last)


def _check_request(proxy: Proxy) -> None:
    """What an upstream sees: written anew, without what was for the proxy, with who asked."""
    fields = [
        "Cookie: a=1",
        "Cookie: b=2",
        "X-A: 1",
        "X-A: 2",
        "Connection: X-Drop, close",
        "X-Drop: 1",
        "TE: trailers",
    ]
    fields += [
        "X-Forwarded-For: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "Proxy-Connection: x",
        "Upgrade: h2c",
        "Via: 1.0 a",
    ]
    seen = str(proxy.ask("/a%2Fb/%61?q=%20x", *fields)["head"])
    lines = seen.split("\r\n")
    assert lines[:2] == ["GET /a%2Fb/%61?q=%20x HTTP/1.1", "Host: test"]
    assert {"cookie: a=1; b=2", "x-a: 1, 2", "Via: 1.0 a, 1.1 floe", "X-Forwarded-For: 10.0.2.2"} <= set(lines)
    assert {"X-Forwarded-Proto: http", "X-Forwarded-Host: test", "Forwarded: proto=http;host=test;for=10.0.2.2"} <= set(
        lines
    )
    low = seen.lower()
    for word in ("x-drop", "te:", "6.6.6.6", "h2c", "connection", "upgrade"):
        assert word not in low, word
    assert str(proxy.ask("http://else.test/x?y")["head"]).startswith("GET /x?y HTTP/1.1\r\nHost: else.test\r\n")
    for where, sent in (("", "*"), ("/", "/"), ("?x", "/?x")):
        head = f"OPTIONS http://else.test{where} HTTP/1.1\r\nHost: test\r\n\r\n"
        seen = json.loads(exchange(proxy.port, head.encode())[0].body)["head"]
        assert seen.startswith(f"OPTIONS {sent} HTTP/1.1\r\nHost: else.test\r\n"), where
    for path in ("/a/../b", "/a/%2e%2e/b", "/./b", "/a/..", "/a%5c..%5cb"):
        assert get(proxy.port, path).status == 400, path


def _check_answers(proxy: Proxy) -> None:
    with RawHttp(proxy.port) as client:
        for path, status, body in (
            ("/slow", 200, b"slow"),
            ("/hints", 200, b"ok"),
            ("/none", 204, b""),
            ("/moved", 304, b""),
        ):
            answer = client.get(path)
            assert (answer.status, answer.body) == (status, body), path
            assert not {"x-inner", "keep-alive", "connection"} & set(answer.fields)
        client.send(GET % (b"/chunks", b"") + b"HEAD /who HTTP/1.1\r\nHost: a\r\n\r\n" + GET % (b"/close", b""))
        answer = client.answer()
        assert answer.fields["transfer-encoding"] == "chunked"
        body = b""
        while size := int(client.line(), 16):
            body += client.take(size + 2)[:-2]
        assert (client.line(), body) == (b"", b"abcdefg")
        head = client.answer(head_only=True)
        assert head.status == 200 and int(head.fields["content-length"]) > 10
        assert client.line() == b"HTTP/1.1 200 OK"
        cookies = [client.line(), client.line()]
        assert cookies == [b"Set-Cookie: a=1", b"Set-Cookie: b=2"]
    with RawHttp(proxy.port) as client:  # one that knows no chunks
        client.send(b"GET /chunks HTTP/1.0\r\n\r\n")
        assert "transfer-encoding" not in client.answer().fields
        assert client.rest() == b"abcdefg"


def _check_bodies(proxy: Proxy, one: Upstream) -> None:
    data = bytes(range(256)) * 4_000
    wanted = hashlib.sha256(data).hexdigest().encode()
    with RawHttp(proxy.port, timeout_s=30) as client:
        client.send(b"PUT /sum HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data), data)
        assert client.answer().body == wanted
        client.send(b"POST /sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(data), 50_000):
            piece = data[at : at + 50_000]
            client.send(b"%x\r\n" % len(piece), piece, b"\r\n")
        client.send(b"0\r\n\r\n")
        assert client.answer().body == wanted
        client.send(b"POST /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        time.sleep(0.2)
        client.send(b"abc")
        assert client.answer().body == hashlib.sha256(b"abc").hexdigest().encode()
        client.send(b"POST /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert client.answer().status == 200
        assert "Content-Length: 0" in one.heads[-1]
        assert client.get("/big").body == b"0123456789" * 300_000
    # A client that leaves, or reads slowly: the upstream waits, the others do not.
    with RawHttp(proxy.port) as lazy:
        lazy.send(GET % (b"/big", b""))
        time.sleep(2.5)  # longer than an upstream may be silent
        assert proxy.ask("/who")["name"] == "one"
        assert lazy.answer().body == b"0123456789" * 300_000
    with RawHttp(proxy.port) as leaving:
        leaving.send(GET % (b"/big", b""))
    until(lambda: all(each["active"] == 0 for each in proxy.upstreams().values()))


def _check_tunnel(proxy: Proxy) -> None:
    asked = b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n"
    with RawHttp(proxy.port) as client:
        client.send(GET % (b"/socket", asked))
        answer = client.answer()
        assert (answer.status, answer.fields["upgrade"], answer.fields["connection"]) == (101, "websocket", "Upgrade")
        assert client.take(5) == b"hello"
        for word in (b"one", b"two", b"x" * 3000):
            client.send(word)
            assert client.take(len(word)) == word.upper()
        client.send(b"bye")
        assert client.take(3) == b"BYE" and client.rest() == b""
    with RawHttp(proxy.port) as client:  # the upstream does not change over
        client.send(GET % (b"/slow", asked))
        assert client.answer().body == b"slow"


def _check_reset_before_interim(proxy: Proxy, interim: Held) -> None:
    """The client's fault, and no failure of the upstream."""
    with RawHttp(proxy.port) as leaving:
        leaving.send(b"POST /interim HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx")
        assert interim.asked.wait(20)
        leaving.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.2)  # for the reset to arrive
    interim.go.set()
    until(lambda: all(each["active"] == 0 for each in proxy.upstreams().values()))
    assert [each["failures"] for each in proxy.upstreams().values()] == [0]


def _check_plain_ones(proxy: Proxy) -> None:
    """Requests and answers that are passed on without being taken apart, and what may arrive meanwhile."""
    requests, size = 'web_requests_total{host="",code="200"}', "web_body_bytes_total"
    before = proxy.figure(requests), proxy.figure(size)
    who, slow = GET % (b"/who", b""), GET % (b"/slow", b"")
    with RawHttp(proxy.port) as client:
        client.send(who[:20], who[20:], pause_s=0.1)
        bodies = [client.answer().body]
        client.send(who + who)
        bodies += [client.answer().body, client.answer().body]
        client.send(slow, who + who[:9], who[9:], pause_s=0.2)
        bodies += [client.answer().body for _ in range(3)]
        client.send(slow)
        client.sock.shutdown(socket.SHUT_WR)  # and no more is asked
        bodies.append(client.answer().body)
        assert client.at_end()
    assert bodies[3] == bodies[6] == b"slow"
    assert all(json.loads(body)["name"] == "one" for body in bodies if body != b"slow")
    assert (proxy.figure(requests), proxy.figure(size)) == (before[0] + 7, before[1] + sum(map(len, bodies)))
    with RawHttp(proxy.port) as leaving:
        leaving.send(slow)
        until(lambda: any(each["active"] for each in proxy.upstreams().values()))
    until(lambda: not any(each["active"] for each in proxy.upstreams().values()))
    assert proxy.ask("/who")["name"] == "one"


def _check_the_end(proxy: Proxy, last: Held) -> None:
    """The request in flight is answered, and its connection closed."""

    def refused() -> bool:
        with suppress(EOFError, OSError), RawHttp(proxy.port) as client:
            return client.get("/who").status != 200
        return True

    with RawHttp(proxy.port) as client:
        client.send(GET % (b"/last", b""))
        assert last.asked.wait(20)
        proxy.vm.interrupt()
        until(refused)
        last.go.set()
        answer = client.answer()
        assert (answer.body, answer.fields["connection"], client.at_end()) == (b"last", "close", True)
    assert proxy.vm.wait() == 0
    assert "requests served, 0 connections cut" in proxy.vm.console_text


# ---- upstreams that fail, come and go ---------------------------------------------------------------


def test_upstreams_come_and_go(boot_proxy: BootProxy) -> None:
    held = Held(DATED + b"Content-Length: 4\r\n\r\nheld")
    scripts = {**GOOD, "/held": held}
    with Upstream("one", scripts) as one, Upstream("two", scripts) as two, Upstream("three", scripts) as three:
        proxy = boot_proxy(one, two, PROXY_READ_S="30")
        assert proxy.names(6) == {"one", "two"}
        assert (one.accepted, two.accepted) == (1, 1)  # connections are used again

        # Idle connections that have ended, also while a request is on its way to one of them.
        for _ in range(5):
            one.hang_up()
            assert proxy.names(4) == {"one", "two"}

        _check_control(proxy)
        assert proxy.control("POST", f"/upstreams/{three.url}").status == 201
        assert proxy.names(6) == {"one", "two", "three"}

        # Draining: what is in flight ends, nothing new comes.
        with RawHttp(proxy.port) as client:
            count = {each.name: len(each.heads) for each in (one, two, three)}
            client.send(GET % (b"/held", b""))
            until(lambda: any(len(each.heads) > count[each.name] for each in (one, two, three)))
            busy = next(each for each in (one, two, three) if len(each.heads) > count[each.name])
            assert proxy.control("POST", f"/upstreams/{busy.url}/drain").status == 200
            assert proxy.upstreams()[busy.url]["state"] == "draining"
            assert busy.name not in proxy.names(6)
            held.go.set()
            assert client.answer().body == b"held"
        assert proxy.control("DELETE", f"/upstreams/{busy.url}").status == 200
        assert busy.url not in proxy.upstreams()
        left = [each for each in (one, two, three) if each is not busy]

        # One dies while requests flow: none is answered with an error.
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(proxy.names, 30) for _ in range(4)]
            time.sleep(0.1)
            left[0].close()
            assert {name for each in asked for name in each.result(60)} <= {each.name for each in left}
        assert proxy.names(4) == {left[1].name}
        figures = proxy.upstreams()[left[0].url]
        assert int(str(figures["failures"])) >= 1
        told = get(proxy.vm.ports[9100], "/metrics").body.decode()
        assert f'web_upstream_failures_total{{upstream="{left[0].url}"}} {figures["failures"]}\n' in told
        assert f'web_upstream_healthy{{upstream="{left[1].url}"}} 1\n' in told
        left[1].close()
        answer = get(proxy.port, "/who")
        assert answer.status == 502
        assert proxy.control("DELETE", f"/upstreams/{left[0].url}").status == 200
        assert proxy.control("DELETE", f"/upstreams/{left[1].url}").status == 200
        answer = get(proxy.port, "/who")
        assert (answer.status, answer.fields["retry-after"]) == (503, "1")


def _check_control(proxy: Proxy) -> None:
    for token in ("", "let me change", "let me change xx"):
        assert proxy.control("DELETE", "/upstreams/x", token).status == 401
    for method, path, status in (
        ("GET", "/", 404),
        ("POST", "/upstreams", 405),
        ("PUT", "/upstreams/a:1", 405),
        ("DELETE", "/upstreams/10.1.1.1:1", 404),
        ("POST", "/upstreams/10.1.1.1:1/drain", 404),
        ("POST", "/upstreams/10.1.1.1:99999", 400),
        ("POST", "/upstreams/a,b:1", 400),
        ("POST", f"/upstreams/{'a' * 64}.b:1", 400),
        ("POST", f"/upstreams/{'a.' * 127}:1", 400),
    ):
        assert proxy.control(method, path).status == status, (method, path)


class Switch:
    """What a health check hears."""

    def __init__(self) -> None:
        self.good = True
        self.hold = threading.Event()

    def health(self, talk: Conversation) -> None:
        talk.say(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % (200 if self.good else 500))

    def stuck(self, talk: Conversation) -> None:
        self.hold.wait(60)


def stuck_at(upstream: Upstream) -> int:
    return sum("/stuck" in head for head in upstream.heads)


def test_checks_and_least_connections(boot_proxy: BootProxy) -> None:
    switch = Switch()
    scripts: dict[str, bytes | Callable[[Conversation], None]] = {"/health": switch.health, "/stuck": switch.stuck}
    with Upstream("one", {**GOOD, **scripts}) as one, Upstream("two", {"/health": b"HTTP/1.1 200 OK\r\n\r\n"}) as two:
        proxy = boot_proxy(
            one, two, PROXY_BALANCE="least-connections", PROXY_CHECK_PATH="/health", PROXY_CHECK_S="0.3",
            PROXY_CHECK_TIMEOUT_S="5", PROXY_READ_S="60", PROXY_TRUST="true", PROXY_HOST="inner.test", PROXY_STRIP="/api",
        )  # fmt: skip
        for path, left in (
            ("/%61p%69/x?y", "/x?y"),
            ("/api%2Fx", "/x"),
            ("/api?%61", "/?%61"),
            ("/ap%69", "/"),
            ("/apix", "/apix"),
        ):
            assert str(proxy.ask(path)["head"]).startswith(f"GET {left} HTTP/1.1\r\n"), path
        seen = str(proxy.ask("/api/x?y", "X-Forwarded-For: 1.1.1.1", "Forwarded: for=1.1.1.1")["head"])
        assert seen.startswith("GET /x?y HTTP/1.1\r\nHost: inner.test\r\n")
        assert "X-Forwarded-For: 1.1.1.1, 10.0.2.2" in seen and "Forwarded: for=1.1.1.1, proto=http" in seen
        with RawHttp(proxy.port, timeout_s=30) as waiting:
            # The other one takes all while one is busy; when that is found to be out, its request goes to the other.
            while not stuck_at(one):
                before = stuck_at(two)
                waiting.send(GET % (b"/stuck", b""))
                until(lambda before=before: stuck_at(one) + stuck_at(two) > before)
                if not stuck_at(one):
                    assert waiting.answer().status == 200
            assert proxy.names(6) == {"two"}
            switch.good = False
            assert json.loads(waiting.answer().body)["name"] == "two"
            until(lambda: proxy.upstreams()[one.url]["state"] == "out")
        switch.hold.set()
        assert proxy.names(6) == {"two"}
        switch.good = True
        until(lambda: proxy.upstreams()[one.url]["state"] == "up")
        until(lambda: proxy.names(4) == {"one", "two"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"UPSTREAMS": "a:b"}, "a:b: expected host:port"),
        ({"UPSTREAMS": "c:1,a..b:1"}, "a..b:1: a name has at most 253 characters, each part of it 1 to 63"),
        ({"UPSTREAMS": "a", "PROXY_READ_S": "soon"}, "PROXY_READ_S = soon: expected seconds"),
        ({"UPSTREAMS": "a", "CONTROL_PORT": "90"}, "CONTROL_PORT needs a secret `control` of at least 8 bytes"),
    ],
)
def test_settings_that_cannot_be(boot: Boot, settings: dict[str, str], said: str) -> None:
    vm = boot("web", deadline_s=30, env=settings)
    assert vm.wait() == 2
    assert vm.console_text.strip() == f"error web: {said}"


def test_a_name_without_an_address(boot: Boot) -> None:
    vm = boot("web", deadline_s=60, ports=[80], env={"UPSTREAMS": "nobody.invalid:80"})
    vm.expect_exact("serving on port 80")
    assert get(vm.ports[80], "/").status == 503
    with socket.create_connection(("127.0.0.1", vm.ports[80]), timeout=5):
        vm.interrupt()
        assert vm.wait() == 0
