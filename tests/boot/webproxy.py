# SPDX-License-Identifier: MIT
"""A running images/web in front of upstreams, for the tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from floe.testing import Boot, Guest
from tests.boot.rawhttp import Answer, exchange
from tests.boot.webguest import get
from tests.boot.webupstream import Upstream

TOKEN = "let me change it"
GET = b"GET %b HTTP/1.1\r\nHost: shop.test\r\n%b\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
DATED = OK + b"Date: Sun, 29 Nov 2026 02:00:00 GMT\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SETTINGS = {
    "PROXY_CONNECT_S": "2",
    "PROXY_READ_S": "1.5",
    "PROXY_TOTAL_S": "60",
    "PROXY_DOWN_S": "2",
    "CONTROL_PORT": "9000",
}


class Proxy:
    """A running images/web in front of upstreams."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        self.port = vm.ports[80]
        vm.expect_exact("serving on port 80")

    def ask(self, path: str, *fields: str) -> dict[str, object]:
        answer = get(self.port, path, *fields)
        assert answer.status == 200, answer
        value = json.loads(answer.body)
        assert isinstance(value, dict)
        return value

    def names(self, count: int) -> set[object]:
        """Who answers so many requests."""
        return {self.ask("/who")["name"] for _ in range(count)}

    def figure(self, name: str) -> int:
        """Of its metrics."""
        lines = get(self.vm.ports[9100], "/metrics").body.decode().split("\n")
        return int(next(line for line in lines if line.startswith(name + " ")).rpartition(" ")[2])

    def control(self, method: str, path: str, token: str = TOKEN) -> Answer:
        head = f"{method} {path} HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {token}\r\n\r\n"
        return exchange(self.vm.ports[9000], head.encode())[0]

    def upstreams(self) -> dict[str, dict[str, object]]:
        answer = self.control("GET", "/upstreams")
        assert answer.status == 200
        return {each["name"]: each for each in json.loads(answer.body)}


BootProxy = Callable[..., Proxy]


def serve(boot: Boot, tmp_path: Path) -> Iterator[BootProxy]:
    """Body of a fixture boot_proxy(*upstreams, **settings) -> Proxy. At its end the guest must be alive, and end well."""
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    running: list[Proxy] = []

    def start(*upstreams: Upstream, **settings: str) -> Proxy:
        env = {**SETTINGS, "UPSTREAMS": ",".join(each.url for each in upstreams), **settings}
        secrets = {"control": str(secret)}
        vm = boot("web", deadline_s=120, ports=[80, 9000, 9100], env=env, secrets=secrets)
        running.append(Proxy(vm))
        return running[-1]

    yield start
    for proxy in running:
        if proxy.vm.outcome is None:
            proxy.vm.interrupt()
        assert proxy.vm.wait() == 0
        assert "PANIC" not in proxy.vm.console_text and "Traceback" not in proxy.vm.console_text


def until(what: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
