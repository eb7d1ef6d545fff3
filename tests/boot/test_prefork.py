# SPDX-License-Identifier: MIT
"""images/prefork: workers that are forked after the handler was loaded, replaced when they end or hang, and drained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from floe.spec.runoptions import RunOptions
from floe.stream.keys import INTERRUPT
from floe.testing import Boot, Guest
from floe.vm.plan import plan
from floe.vm.vm import Vm
from tests.boot.rawhttp import RawHttp
from tests.support.clients import served

HERE = Path(__file__).parent
IMAGES = HERE.parents[1] / "images"


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    """On one accelerator: of forks on both there are tests in tests/target."""
    with Boot(apps=[IMAGES], folder=tmp_path) as boots:
        yield boots


class Server:
    """A running one."""

    def __init__(self, vm: Guest, workers: int) -> None:
        self.vm = vm
        vm.expect_exact(f"info prefork: serving on port 8080 by {workers} workers\n")

    def get(self, path: str, port: int = 8080) -> bytes:
        return served(self.vm, get, self.vm.ports[port], path)

    def until(self, metric: str) -> None:
        """A line of the pages, which may come a second late."""
        while not re.search(rf"^{re.escape(metric)}$", self.get("/metrics", 9100).decode(), re.MULTILINE):
            assert self.vm.outcome is None

    def workers(self) -> set[int]:
        """Who answers."""
        return {json.loads(self.get("/who"))["vm"] for _ in range(4)}


def get(port: int, path: str) -> bytes:
    with RawHttp(port, 30) as client:
        answer = client.get(path)
        assert answer.status == 200, answer
        return answer.body


def asked_in_vain(port: int, path: str) -> None:
    """The worker ends at it."""
    with RawHttp(port, 30) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        assert client.at_end()


def test_workers(boot: Boot, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "data").mkdir(parents=True)
    (folder / "image.toml").write_text('name = "mine"\nversion = "1"\nbase = "prefork"\n')
    (folder / "handler.py").write_text((HERE / "guest_prefork.py").read_text())
    (folder / "data" / "index.html").write_text("a file\n")
    env = {"WORKERS": "2", "TIMEOUT": "2", "HANG": "2500ms"}
    server = Server(boot(folder, deadline_s=120, ports=[8080, 9100], env=env), 2)
    vm = server.vm
    assert server.workers() == {2, 3}
    assert json.loads(server.get("/who"))["loaded in"] == 1
    assert server.get("/") == b"a file\n"
    assert server.get("/health", 9100) == server.get("/ready", 9100) == b"ok\n"
    server.until("prefork_requests_total 6")

    served(vm, asked_in_vain, vm.ports[8080], "/end")
    vm.expect(r"warning prefork: worker \d \(VM [23]\) ended with 3\n")
    server.until("prefork_workers 2")
    [left, new] = sorted(server.workers())
    assert left in (2, 3) and new > 3
    server.until('prefork_ends_total{how="failed"} 1')

    served(vm, asked_in_vain, vm.ports[8080], "/hang")
    vm.expect(r"error prefork: worker \d \(VM \d+\) hangs\n")
    vm.expect(r"warning prefork: worker \d \(VM \d+\) ended with -9\n")
    server.until("prefork_workers 2")
    assert max(server.workers()) > new
    assert server.get("/health", 9100) == b"ok\n"

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(get, vm.ports[8080], "/slow")
        server.until("prefork_connections 1")
        vm.send(INTERRUPT)
        assert vm.wait(deadline_s=60) == 0
        assert slow.result() == b"slowly\n"
    assert "PANIC" not in vm.console_text and "Traceback" not in vm.console_text


def test_where_no_vm_can_be_forked() -> None:
    """As under Xen."""
    options = RunOptions(forwards=("0:8080", "0:9100"))
    spec, _ = plan(IMAGES / "prefork", options)
    with Vm(replace(spec, children=None)) as vm:
        vm.expect_exact("warning prefork: no VM can be forked here: this one serves alone\n", timeout=30)
        vm.expect_exact("info prefork: serving on port 8080\n", timeout=30)
        assert b"<form" in get(vm.ports[8080], "/")
        assert get(vm.ports[9100], "/ready") == get(vm.ports[9100], "/health") == b"ok\n"
        vm.send(INTERRUPT)
        assert vm.wait(deadline_s=60) == 0
        assert "Traceback" not in vm.console_text


def test_alone(boot: Boot) -> None:
    """The image's own handler, in a VM that forks nobody."""
    vm = boot("prefork", deadline_s=60, ports=[8080, 9100], env={"WORKERS": "0"})
    vm.expect_exact("info prefork: serving on port 8080\n")
    found = served(vm, get, vm.ports[8080], "/factor?n=99400891")
    assert json.loads(found) == {"n": 99400891, "factors": [9967, 9973], "vm": 1}
    with RawHttp(vm.ports[8080]) as client:
        assert client.get("/factor?n=0").status == 422
        assert client.get("/other").status == 404
    assert b"<form" in get(vm.ports[8080], "/")
    assert get(vm.ports[9100], "/ready") == b"ok\n"
    vm.send(INTERRUPT)
    assert vm.wait(deadline_s=60) == 0
