# SPDX-License-Identifier: MIT
"""images/web reads requests as RFC 9110 and RFC 9112 say, case by case (webcases.py), and answers in their syntax.

Behind the bytes of each case another request follows. It is answered if the connection stays, and never if not;
answers are read by h11, which refuses what is not HTTP/1.1.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator

import h11

from tests.boot.rawhttp import RawHttp
from tests.boot.webcases import CASES, HOST, PLAIN, Case
from tests.boot.webguest import CALM_S, CHUNKED, DATA, POST, Web

_LAST = b"GET /robots.txt HTTP/1.1\r\nHost: smuggled\r\nConnection: close\r\n\r\n"
_TIMEOUT_S = 20.0
_AT_ONCE = 24  # connections
_one_by_one = threading.Lock()  # see CALM_S
_APART_S = 0.002  # between pieces that shall come in two packets
_DATE = re.compile(rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d GMT")


def _exchange(port: int, pieces: tuple[bytes, ...], end: bool) -> bytes:
    """All that the server says on a connection of its own until it closes it. end: we end our side before."""
    said = b""
    with _one_by_one:
        sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        time.sleep(CALM_S)
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # a server that has refused reads on for a while only
            for piece in pieces:
                sock.sendall(piece)
                time.sleep(_APART_S)
            if end:
                sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(65536):
                said += data
    return said


def _read_answers(said: bytes, heads: int) -> Iterator[tuple[h11.Response, bytes]]:
    """Each answer with its body; the first `heads` of them are answers to HEAD. Raises h11.RemoteProtocolError."""
    while said:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="HEAD" if heads > 0 else "GET", target="/", headers=[("Host", "test")]))
        client.send(h11.EndOfMessage())
        client.receive_data(said)
        client.receive_data(b"")
        answer, body = client.next_event(), b""
        assert isinstance(answer, h11.Response), answer
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), event
            body += bytes(event.data)
        rest = client.trailing_data[0]
        assert said.endswith(rest) and len(rest) < len(said)
        said, heads = rest, heads - 1
        yield answer, body


def _check_answer(answer: h11.Response) -> None:
    """What each answer of an origin server with a clock has to say."""
    names = [name for name, _ in answer.headers]
    fields = dict(answer.headers)
    assert len(names) == len(fields), f"repeated field: {names}"
    assert _DATE.fullmatch(fields[b"date"])
    assert (b"content-length" in fields) == (answer.status_code not in (204, 304))
    assert b"transfer-encoding" not in fields
    assert answer.http_version == b"1.1"
    assert (b"allow" in fields) == (answer.status_code in (204, 405))


def _fault_of(case: Case, said: bytes) -> str:
    """What is wrong with the answers to a case and to the request behind it; empty if nothing is."""
    try:
        answers = list(_read_answers(said, case.stream.count(b"HEAD ")))
        for answer, _ in answers:
            _check_answer(answer)
    except (h11.RemoteProtocolError, AssertionError, KeyError) as exc:
        return f"not as HTTP/1.1 has it: {exc!r}"
    statuses = tuple(answer.status_code for answer, _ in answers)
    closes = [dict(answer.headers).get(b"connection") == b"close" for answer, _ in answers]
    if not case.closed and (statuses[-1:] != (200,) or answers[-1][1] != (DATA / "robots.txt").read_bytes()):
        return f"the next request was not answered: {statuses}"
    if statuses != case.statuses + (() if case.closed else (200,)):
        return f"answered {statuses}"
    if closes != [False] * (len(closes) - 1) + [True]:
        return f"Connection: close in {closes}"
    return ""


def _fault_with(port: int, case: Case) -> str:
    """Once in one piece, and once in several, of which none follows a close that was announced."""
    whole = case.stream if case.endless else case.stream + _LAST
    for pieces in ((whole,), (case.stream[:-1], case.stream[-1:], b"" if case.closed else _LAST)):
        try:
            fault = _fault_of(case, said := _exchange(port, pieces, end=len(pieces) > 1))
        except TimeoutError:
            fault, said = "the connection stays", b""
        if fault:
            return f"RFC {case.section}, {case.name}: {fault}; {case.stream[:80]!r} -> {said[:200]!r}"
    return ""


def test_cases(web: Web) -> None:
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:  # a refused client is given time to read
        faults = list(filter(None, pool.map(lambda case: _fault_with(web.port, case), CASES)))
    assert not faults, "\n".join(faults)
    assert web.vm.console_text.count("\n") == 1  # whatever clients send, the log stays silent


_CUT = {
    b"\r\nGET /?a HTTP/1.1\r\nHost: test\r\nX: a:b\r\n\r\n": 200,
    POST + b"Content-Length: 5\r\n\r\nhello": 405,
    CHUNKED + b"5;a\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n": 405,
    b"GET / HTTP/1.1\r\nHost: test\r\nIf-None-Match: *\r\n\r\n": 304,
}


def test_cut_at_each_byte(web: Web) -> None:
    """The same answers whatever comes in one packet, and when each byte is alone in its own."""
    with RawHttp(web.port, _TIMEOUT_S) as client:
        for stream, status in _CUT.items():
            for cut in range(1, len(stream)):
                client.send(stream[:cut], stream[cut:], pause_s=_APART_S)
                assert client.answer().status == status, stream[:cut]
            client.send(*[stream[i : i + 1] for i in range(len(stream))], pause_s=_APART_S)
            assert client.answer().status == status, stream
        client.send(PLAIN)
        assert client.answer().body == (DATA / "index.html").read_bytes()


def test_end_at_each_byte(web: Web) -> None:
    """A client that ends inside a request gets no answer, one that ends behind it does; the connection ends too."""
    for stream, status in _CUT.items():
        with RawHttp(web.port, _TIMEOUT_S) as client:
            client.send(stream)
            client.sock.shutdown(socket.SHUT_WR)
            assert client.answer().status == status
            assert client.at_end(), stream
        for cut in range(1, len(stream), 3):
            with RawHttp(web.port, _TIMEOUT_S) as client:
                client.send(stream[:cut])
                client.sock.shutdown(socket.SHUT_WR)
                assert client.at_end(), stream[:cut]


def test_continue(web: Web) -> None:
    """RFC 9110, section 10.1.1: once, before the body, however the expectation is spelled."""
    for head, body in (
        (POST + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n", b"hello"),
        (CHUNKED.replace(HOST, HOST + b"EXPECT: 100-CONTINUE\r\n"), b"5\r\nhello\r\n0\r\n\r\n"),
    ):
        with RawHttp(web.port, _TIMEOUT_S) as client:
            client.send(head)
            assert client.answer().status == 100
            client.send(body + PLAIN)
            assert [client.answer().status for _ in range(2)] == [405, 200]
