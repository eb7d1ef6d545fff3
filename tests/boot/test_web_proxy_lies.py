# SPDX-License-Identifier: MIT
"""images/web as a reverse proxy in front of a server that lies: the client gets a 502 or 504, or sees a body cut."""

from __future__ import annotations

import json
import time

import pytest

from tests.boot.rawhttp import RawHttp
from tests.boot.webproxy import CHUNKED, GET, OK, BootProxy
from tests.boot.webupstream import Conversation, Upstream

LIES = {
    "no HTTP": b"220 mail.test ESMTP\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "short status": b"HTTP/1.1 20 OK\r\n\r\n",
    "status that is none": b"HTTP/1.1 999 x\r\n\r\n",
    "line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
    "folded field": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "blank before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "no colon": OK + b"nonsense\r\n\r\n",
    "NUL": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "carriage return": OK + b"X: a\rSet-Cookie: x\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length list": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "signed length": OK + b"Content-Length: +3\r\n\r\nabc",
    "length and chunked": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip and chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked 204": b"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size": CHUNKED + b"xyz\r\n",
    "signed chunk size": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "chunk too long": CHUNKED + b"2\r\nabc\r\n",
    "interim for ever": b"HTTP/1.1 102 x\r\n\r\n" * 40,
    "unasked upgrade": b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "large head": OK + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "many fields": OK + b"X: y\r\n" * 200 + b"\r\n",
    "endless head": OK + b"X: y\r\n" * 4000,
}
# Answers that begin well: the client can see that they are not whole.
CUT = {
    "/cut": OK + b"Content-Length: 100000\r\n\r\nabc",
    "/cut-chunks": CHUNKED + b"3\r\nabc\r\n5\r\nde",
    "/bad-chunk": CHUNKED + b"3\r\nabc\r\n",
}


def test_lies(boot_proxy: BootProxy) -> None:
    def close_at_once(talk: Conversation) -> None:
        """Nothing is said."""

    def cut(talk: Conversation) -> None:
        talk.say(CUT[talk.head.split(" ")[1]])
        time.sleep(0.2)
        if "/bad-chunk" in talk.head:
            talk.say(b"zz\r\n")
            talk.sock.recv(1)

    def more(talk: Conversation) -> None:
        talk.say(OK + b"Content-Length: 3\r\n\r\nabc" + OK + b"Content-Length: 8\r\n\r\nsmuggled")
        talk.sock.recv(1)

    def half(talk: Conversation) -> None:
        talk.say(b"HTTP/1.1 200 O")

    def drip(talk: Conversation) -> None:
        talk.say(OK)
        while True:
            time.sleep(0.3)
            talk.say(b"X: y\r\n")

    scripts = {f"/{number}": lie for number, lie in enumerate(LIES.values())}
    scripts |= {"/nothing": close_at_once, "/more": more, "/half": half, "/silent": b"", **dict.fromkeys(CUT, cut)}
    with Upstream("liar", {**scripts, "/drip": drip}) as liar:
        proxy = boot_proxy(liar, PROXY_MAX_FAILS="0", PROXY_TOTAL_S="4")
        dripped = RawHttp(proxy.port, timeout_s=20)
        dripped.send(GET % (b"/drip", b""))
        for number, case in enumerate(LIES):
            with RawHttp(proxy.port) as client:
                assert client.get(f"/{number}").status == 502, case
                assert json.loads(client.get("/who").body)["name"] == "liar", case  # the client's connection goes on
        for path in CUT:
            with RawHttp(proxy.port) as client, pytest.raises(EOFError):
                client.send(GET % (path.encode(), b""))
                answer = client.answer()
                assert answer.status == 200
                client.take(1_000)
        with RawHttp(proxy.port) as client:
            for path, status in (("/half", 502), ("/nothing", 502), ("/silent", 504)):
                assert client.get(path).status == status, path
            for _ in range(3):
                assert client.get("/more").body == b"abc"
                assert json.loads(client.get("/who").body)["name"] == "liar"
        with RawHttp(proxy.port) as client:
            client.send(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            assert client.answer().status == 502
        assert [head for head in liar.heads if "POST /nothing" in head] == [liar.heads[-1]]  # and was not asked again
        with dripped:  # a sign of life each time, and no head within the whole time
            assert dripped.answer().status == 504
        proxy.vm.expect_exact("bad answer: bad version", timeout=10)
