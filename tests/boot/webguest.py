# SPDX-License-Identifier: MIT
"""A running images/web for the tests, and requests to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from pexpect import TIMEOUT

from floe.stream.keys import INTERRUPT
from floe.testing import Boot, Guest
from tests.boot.rawhttp import Answer, RawHttp, exchange

DATA = Path(__file__).resolve().parents[2] / "images" / "web" / "data"
HOST = b"Host: test\r\n"
POST = b"POST / HTTP/1.1\r\nHost: test\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
POST_NOTE = b"POST /api/notes HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"

DEADLINE_S = 120.0  # for one test
CALM_S = 0.005  # between connections: the accept queue of QEMU's port forwarding holds one
SETTLE_S = 30.0  # for the guest's first line, and for its end


class Web:
    """A running images/web."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        self.port = vm.ports[80]
        vm.expect_exact("serving on port 80 (IPv6, IPv4)", timeout=SETTLE_S)

    def ends_with(self, code: int) -> str:
        """Press Ctrl-C, wait for the end, and return all that the guest said."""
        self.vm.send(INTERRUPT)
        assert self.vm.wait() == code
        text = self.vm.console_text
        assert "PANIC" not in text and "Traceback" not in text
        return text


BootWeb = Callable[[dict[str, str]], Web]


def serve(boot: Boot) -> Iterator[BootWeb]:
    """Body of a fixture boot_web(env) -> Web. Whatever the test did, the guest must be alive and silent after it."""
    running: list[Web] = []

    def start(env: dict[str, str]) -> Web:
        running.append(Web(boot("web", deadline_s=DEADLINE_S, ports=[80], env=env)))
        return running[-1]

    yield start
    for web in running:
        if web.vm.outcome is None:
            assert web.vm.expect_exact(["PANIC", TIMEOUT], timeout=0.02) == 1
            assert "Traceback" not in web.vm.console_text


def get(port: int, path: str, *fields: str) -> Answer:
    with RawHttp(port) as client:
        return client.get(path, *fields)


def request(port: int, method: str, path: str, value: object = None, kind: str = "application/json") -> Answer:
    body = b"" if value is None else json.dumps(value).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return exchange(port, head.encode() + body)[0]


def status_of(port: int) -> dict[str, object]:
    value = json.loads(get(port, "/api/status").body)
    assert isinstance(value, dict)
    return value
