# SPDX-License-Identifier: MIT
"""images/web as a proxy, and the cases of webcases.py: an upstream gets whole requests only, and none that was hidden.

The upstream is h11, which reads as strictly as the client's side of test_web_conformance.py.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import h11
import pytest

from floe.testing import Boot, Guest
from tests.boot.webcases import CASES, Case

_TIMEOUT_S = 20.0
_LAST = b"GET /last HTTP/1.1\r\nHost: smuggled\r\nConnection: close\r\n\r\n"
# h11 keeps no connection of HTTP/1.0; a blank before an extension, trailers that are thrown away, an empty line between.
_REFUSED_BY_H11 = ("blanks", "trailers that may not frame", "no body, bodies")
Seen = tuple[bytes, bytes, bytes]  # method, target, body


@dataclass
class Reader:
    """What h11 makes of a stream: whole requests, each of which is answered, and where it refuses."""

    server: h11.Connection = field(default_factory=lambda: h11.Connection(h11.SERVER))
    request: h11.Request | None = None
    body: bytes = b""

    def read(self, data: bytes) -> Iterator[tuple[Seen, bytes]]:
        """Each whole request, and the bytes of its answer. Raises h11.RemoteProtocolError."""
        self.server.receive_data(data)
        while (event := self.server.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self.request, self.body = event, b""
            elif isinstance(event, h11.Data):
                self.body += bytes(event.data)
            elif isinstance(event, h11.ConnectionClosed):
                return
            elif isinstance(event, h11.EndOfMessage) and self.request is not None:
                answer = self.server.send(h11.Response(status_code=404, headers=[("Content-Length", "0")])) or b""
                answer += self.server.send(h11.EndOfMessage()) or b""
                yield (bytes(self.request.method), bytes(self.request.target), self.body), answer
                if self.server.our_state is not h11.DONE:
                    return
                self.server.start_next_cycle()


class Upstream:
    """Listens on 127.0.0.1; `seen` are the whole requests, `refused` what was none."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.refused: list[str] = []
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._sock.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._sock.accept()[0],), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        reader = Reader()
        with contextlib.suppress(OSError), sock:
            sock.settimeout(_TIMEOUT_S)
            while data := sock.recv(65536):
                try:
                    for seen, answer in reader.read(data):
                        self.seen.append(seen)
                        sock.sendall(answer)
                except h11.RemoteProtocolError as exc:
                    self.refused.append(f"{exc}: {data[:200]!r}")
                    return


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def proxy(boot: Boot, upstream: Upstream) -> Iterator[Guest]:
    vm = boot("web", deadline_s=120, ports=[80], env={"UPSTREAMS": f"10.0.2.2:{upstream.port}"})
    vm.expect_exact("serving on port 80")
    yield vm
    assert "PANIC" not in vm.console_text and "Traceback" not in vm.console_text


def _send(port: int, case: Case) -> None:
    """The case and a request behind it; returns once the proxy has closed the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(case.stream if case.endless else case.stream + _LAST)
            if case.closed:  # or it would wait for a while after a refusal
                sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(65536):
                pass


def _read_by_h11(stream: bytes) -> list[Seen]:
    while stream[:2] == b"\r\n":
        stream = stream[2:]
    found: list[Seen] = []
    with contextlib.suppress(h11.RemoteProtocolError):
        for seen, _ in Reader().read(stream):
            found.append(seen)
    return found


def _fault_of(case: Case, seen: list[Seen]) -> str:
    """What an upstream should not have seen of a case."""
    last = [target for _, target, _ in seen].count(b"/last")
    if last != (0 if case.closed else 1):
        return f"the request behind it came {last} times"
    whole = [(method, body) for method, target, body in seen if target != b"/last"]
    known = [(method, body) for method, target, body in _read_by_h11(case.stream) if target != b"/last"]
    if (
        not case.stream.startswith(b"GET / HTTP/1.0")
        and case.name not in _REFUSED_BY_H11
        and whole != known[: len(whole)]
    ):
        return f"it saw {whole}, not {known}"
    return ""


def test_an_upstream_gets_no_other_requests(proxy: Guest, upstream: Upstream) -> None:
    faults = []
    for case in CASES:
        if 413 in case.statuses:  # a body that is passed on has no such limit
            continue
        before = len(upstream.seen)
        try:
            _send(proxy.ports[80], case)
        except TimeoutError:
            faults.append(f"RFC {case.section}, {case.name}: the connection stays")
            continue
        fault = _fault_of(case, upstream.seen[before:])
        if fault:
            faults.append(f"RFC {case.section}, {case.name}: {fault}; {case.stream[:80]!r}")
    assert not faults + upstream.refused, "\n".join(faults + upstream.refused)
    assert len(upstream.seen) > 100
