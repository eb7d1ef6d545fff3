# SPDX-License-Identifier: MIT
"""The proxy of images/web without memory: requests are answered all the same, and a line tells of it, not a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from floe.stream.keys import INTERRUPT
from floe.testing import Boot
from tests.boot.rawhttp import RawHttp
from tests.boot.webguest import DATA
from tests.boot.webproxy import until
from tests.boot.webupstream import Upstream


def test_no_memory_in_the_proxy(boot: Boot, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    for module in DATA.parent.glob("*.py"):
        shutil.copy(module, folder)
    shutil.copy(Path(__file__).parent / "guest_web_starved.py", folder / "main.py")
    (folder / "image.toml").write_text('name = "starved"\nversion = "1"\n')
    with Upstream("one") as one, Upstream("two") as two:
        env = {"UPSTREAMS": f"named.test:{one.port},{two.url}"}
        vm = boot(folder, deadline_s=120, ports=[80], env=env)
        vm.expect_exact("serving")
        with RawHttp(vm.ports[80], timeout_s=30) as client:

            def status(path: str) -> int:
                return client.get(path).status

            def both() -> bool:
                return {json.loads(client.get("/who").body)["name"] for _ in range(4)} == {"one", "two"}

            until(both, 30)  # the name is asked for until its answer can be read
            assert [status("/arriving=1"), status("/who")] == [200, 200]  # by the other one
            assert [status("/arriving=2"), status("/who"), status("/who")] == [200, 502, 200]
            assert [status("/connecting=1"), status("/who"), status("/who")] == [200, 503, 200]
            until(both, 30)
            # None for the answer, and none to ask the other one.
            assert [status("/connecting=1"), status("/arriving=1"), status("/who"), status("/who")] == [
                200, 200, 503, 200,
            ]  # fmt: skip
        vm.expect_exact("error httpd: no memory, ")
        vm.send(INTERRUPT)
        assert vm.wait() == 0
        assert "PANIC" not in vm.console_text and "Traceback" not in vm.console_text
