# SPDX-License-Identifier: MIT
"""docs/proxy.md: its stack, one of whose web VMs is killed and replaced while clients ask for pages."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from floe.testing import compose
from tests.boot.rawhttp import RawHttp
from tests.support.fixtures import REPO

PAGE = (REPO / "docs" / "proxy.md").read_text()
PATHS = ("/", "/robots.txt", "/style.css", "/app.js", "/about/")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    stack = re.search(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert stack is not None
    text = stack[1].replace('"../images/web"', f'"{REPO / "images" / "web"}"')
    written = tmp_path / "compose.toml"
    written.write_text(text.replace('"8080:80"', '"0:80"'))
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


def test_one_is_killed_and_replaced(file: Path) -> None:
    with compose(file) as stack:
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
            finally:
                clients.ending = True
            for each in asking:
                each.result(40)
        assert "Traceback" not in stack.log("front")
