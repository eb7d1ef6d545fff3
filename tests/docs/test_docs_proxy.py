# SPDX-License-Identifier: MIT
"""docs/proxy.md: its stack, with eight web VMs of which one is killed, one leaves for another one, and one is drained,
while clients ask for pages."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from floe.testing import Stack, compose
from tests.boot.rawhttp import Answer, RawHttp, exchange
from tests.support.fixtures import REPO
from tests.support.vms import until

PAGE = (REPO / "docs" / "proxy.md").read_text()
TOKEN = "let me change it"
CONTROL = 'secrets = { control = "token" }\nenv = { CONTROL_PORT = "9000", '
COUNT = 8  # web VMs
PATHS = ("/", "/robots.txt", "/style.css", "/app.js", "/about/")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    stack = re.search(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert stack is not None
    text = stack[1].replace('"../images/web"', f'"{REPO / "images" / "web"}"')
    text = text.replace("replicas = 3", f"replicas = {COUNT}")
    written = tmp_path / "compose.toml"
    (tmp_path / "token").write_text(TOKEN)
    written.write_text(text.replace('"8080:80"', '"0:80", "0:9000"').replace("env = { ", CONTROL))
    return written


class Clients:
    """Ask for pages until told to end; each answer must be right."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.ending = False
        self.answers = 0

    def ask(self, first: int) -> None:
        with RawHttp(self.port, timeout_s=30) as client:
            turn = first
            while not self.ending:
                turn += 1
                answer = client.get(f"{PATHS[turn % len(PATHS)]}?{turn}", f"Cookie: a={turn}")
                assert (answer.status, len(answer.body)) == (200, int(answer.fields["content-length"]))
                self.answers += 1
                time.sleep(0.005)

    def more(self, count: int) -> None:
        """Wait until so many more are answered."""
        wanted, deadline = self.answers + count, time.monotonic() + 30
        while self.answers < wanted and not self.ending:
            assert time.monotonic() < deadline, self.answers
            time.sleep(0.02)


def control(port: int, method: str, path: str) -> Answer:
    head = f"{method} {path} HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    return exchange(port, head.encode())[0]


def states(answer: Answer) -> dict[str, str]:
    return {each["name"]: each["state"] for each in json.loads(answer.body)}


def drain_one(port: int, clients: Clients) -> None:
    """One address of the name `web` gets nothing for a while, and then its share again."""
    until(lambda: list(states(control(port, "GET", "/upstreams")).values()) == ["up"] * COUNT, "all replicas are up")
    one = min(states(control(port, "GET", "/upstreams")))
    assert states(control(port, "POST", f"/upstreams/{one}/drain"))[one] == "draining"
    clients.more(100)
    assert states(control(port, "GET", "/upstreams"))[one] == "draining"
    assert states(control(port, "POST", f"/upstreams/{one}"))[one] == "up"
    clients.more(100)


def replace_one(stack: Stack, file: Path, clients: Clients) -> None:
    """The last one ends in order while it is asked, and another one takes its place."""
    whole = file.read_text()
    file.write_text(whole.replace(f"replicas = {COUNT}", f"replicas = {COUNT - 1}"))
    stack.up()
    assert f"web.{COUNT}" not in stack.vms
    clients.more(100)
    file.write_text(whole)
    stack.up()
    assert stack.status(f"web.{COUNT}").state == "running"
    clients.more(100)


def test_one_is_killed_and_one_replaced(file: Path) -> None:
    with compose(file) as stack:
        assert len(stack.vms) == COUNT + 1
        clients = Clients(stack.ports("front")[80])
        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(clients.ask, number) for number in range(4)]
            try:
                clients.more(100)
                stack.kill("web.2")
                clients.more(200)
                stack.up()
                assert [line for line in stack.said if "is started" in line][-1].startswith("web.2 is started")
                clients.more(100)
                replace_one(stack, file, clients)
                drain_one(stack.ports("front")[9000], clients)
            finally:
                clients.ending = True
            for each in asking:
                each.result(40)
        assert "Traceback" not in stack.log("front")
