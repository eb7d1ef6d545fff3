# SPDX-License-Identifier: MIT
"""tools/floe/bench/httpload.{py,c}: what is counted, against servers that behave, stall, close and lie."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from floe.bench import httpload
from floe.bench.httpload import Load
from floe.errors import VmError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Answer = Callable[[bytes, int], bytes]  # to a request's head and its number on the connection; b"" closes


class Server:
    """A thread for each connection. It keeps the heads that it was sent."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        waiting, number = b"", 0
        with sock, suppress(OSError):
            while data := sock.recv(65536):
                waiting += data
                while b"\r\n\r\n" in waiting:
                    head, _, waiting = waiting.partition(b"\r\n\r\n")
                    self.heads.append(head)
                    said = self.answer(head, number)
                    number += 1
                    sock.sendall(said)
                    if not said or b"Connection: close" in head or b"Connection: close" in said:
                        return


@contextmanager
def serving(answer: Answer = lambda head, number: OK) -> Iterator[Server]:
    server = Server(answer)
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)  # or the thread that waits in accept() takes one more
        server.listener.close()


def put(server: Server, load: Load) -> httpload.Counted:
    return httpload.put(load, [("127.0.0.1", server.port)])


def test_each_request_that_is_due_is_sent_and_counted() -> None:
    with serving() as server:
        counted = put(server, Load(1.0, rate=200, connections=8))
        assert (counted.requests, counted.answered, counted.errors) == (200, 200, 0)
        assert len(server.heads) == 200 and server.connections == 8
        assert counted.per_s <= 200
        times = (counted.p50_ms, counted.p90_ms, counted.p99_ms, counted.p999_ms, counted.max_ms)
        assert list(times) == sorted(times) and times[0] > 0


def test_a_server_that_stands_still_for_a_second_shows_in_all_that_was_due_meanwhile() -> None:
    """Of 2 s, one is lost: a load that waits for answers would see one slow request of each connection."""
    still = threading.Lock()
    first = threading.Event()

    def answer(head: bytes, number: int) -> bytes:
        if not first.is_set():
            first.set()
            with still:
                time.sleep(1.0)
        with still:
            return OK

    with serving(answer) as server:
        counted = put(server, Load(2.0, rate=100, connections=2, timeout_s=20))
    assert (counted.answered, counted.errors) == (200, 0)
    # Due in equal steps over the second that was lost: the half of all, 10 to 1,000 ms late.
    assert counted.p99_ms > 900
    assert counted.p90_ms > 700
    assert counted.max_ms >= 1000


def test_without_a_rate_it_asks_as_fast_as_it_is_answered() -> None:
    with serving() as server:
        counted = put(server, Load(0.5, connections=4))
        assert counted.answered == len(server.heads) > 100
        assert counted.errors == 0
        assert counted.per_s == pytest.approx(counted.answered / 0.5, rel=0.5)


def test_a_connection_for_each_request() -> None:
    with serving() as server:
        counted = put(server, Load(0.5, rate=60, connections=4, each=True))
        assert (counted.answered, counted.errors) == (30, 0)
        assert server.connections == 30
        assert all(b"\r\nConnection: close" in head for head in server.heads)


def test_no_request_is_like_another_and_paths_take_turns() -> None:
    with serving() as server:
        put(server, Load(0.5, rate=60, vary=True, paths=("/", "/a?b=1")))
        assert len(set(server.heads)) == len(server.heads) == 30
        lines = sorted(head.partition(b"\r\n")[0] for head in server.heads)
        assert lines.count(b"GET /?v=0 HTTP/1.1") == 1 and lines.count(b"GET /a?b=1&v=1 HTTP/1.1") == 1
        assert sum(line.startswith(b"GET /a") for line in lines) == 15


def test_several_servers_share_the_connections_and_the_requests() -> None:
    with serving() as one, serving() as other:
        counted = httpload.put(Load(0.5, rate=100, connections=6), [("127.0.0.1", one.port), ("127.0.0.1", other.port)])
        assert (one.connections, other.connections) == (3, 3)
        assert counted.answered == len(one.heads) + len(other.heads) == 50
        assert min(len(one.heads), len(other.heads)) > 10


def test_a_low_rate_uses_all_connections() -> None:
    numbers: Counter[int] = Counter()

    def answer(head: bytes, number: int) -> bytes:
        numbers[number] += 1
        return OK

    with serving(answer) as server:
        counted = put(server, Load(0.5, rate=40, connections=10))
    assert (counted.answered, counted.errors) == (20, 0)
    assert numbers[0] == 10  # the first requests on their connections


def test_without_a_rate_it_ends_in_time_where_connecting_fails_at_once() -> None:
    began = time.monotonic()
    counted = httpload.put(Load(0.3, connections=2), [("255.255.255.255", 80)])
    assert time.monotonic() - began < 30  # and not until it is killed
    assert counted.answered == 0
    assert counted.kinds["connect"] == counted.errors > 0


def test_what_the_server_closes_behind_an_answer_is_opened_again() -> None:
    last = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    with serving(lambda head, number: last) as server:
        counted = put(server, Load(0.5, rate=60, connections=3))
        assert (counted.answered, counted.errors) == (30, 0)
        assert 30 <= server.connections <= 32  # two of the first three are not needed


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    with serving(lambda head, number: b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end") as server:
        counted = put(server, Load(0.5, rate=40, connections=2))
        assert (counted.answered, counted.errors) == (20, 0)


@pytest.mark.parametrize(("said", "kind"), [
    (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status"),
    (b"", "read"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nshort", "read"),
    (b"SMTP ready\r\n\r\n", "status"),
])  # fmt: skip
def test_an_error_is_counted_by_its_kind(said: bytes, kind: str) -> None:
    def answer(head: bytes, number: int) -> bytes:
        return said

    with serving(answer) as server:
        counted = put(server, Load(0.5, rate=40, connections=2))
    assert (counted.answered, counted.errors) == (0, 20)
    assert Counter(counted.kinds)[kind] == 20


def test_nobody_there_is_an_error_of_each_request() -> None:
    with serving() as server:
        pass
    counted = put(server, Load(0.5, rate=40, connections=2))
    assert (counted.answered, counted.kinds["connect"]) == (0, 20)


def test_no_answer_in_time_is_an_error_and_as_late_as_that() -> None:
    gone = threading.Event()

    def answer(head: bytes, number: int) -> bytes:
        gone.wait(20)
        return b""

    with serving(answer) as server:
        counted = put(server, Load(0.5, rate=40, connections=2, timeout_s=0.4))
        gone.set()
    assert counted.answered == 0
    assert counted.kinds["timeout"] + counted.kinds["unsent"] == counted.errors == 20
    assert counted.p50_ms >= 400


def test_chunks_are_refused_with_a_sentence() -> None:
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with serving(lambda head, number: said) as server, pytest.raises(VmError) as caught:
        put(server, Load(0.5, rate=40))
    assert "chunks" in caught.value.evidence
