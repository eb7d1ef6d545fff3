# SPDX-License-Identifier: MIT
"""floe.testing.compose(): a stack under test, and `floe compose exec` beside it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from floe.errors import FloeError, GuestError, NotFound
from floe.testing import compose
from tests.support.command import floe
from tests.support.vms import gone, until

DB = "import socket\ns = socket.socket()\ns.bind(('0.0.0.0', 5000))\ns.listen(4)\nprint('open')\n"
WEB = """
import socket
s = socket.socket()
s.bind(("0.0.0.0", 80))
s.listen(4)
while True:
    client, _ = s.accept()
    client.sendall(b"%d" % len(socket.getaddrinfo("db", 5000)))
    client.close()
"""
FILE = """
[vm.db]
app = "db.py"
dev = true
accel = "${ACCEL}"
ready = { port = 5000 }
[vm.web]
app = "web.py"
accel = "${ACCEL}"
ports = ["0:80"]
after = ["db"]
ready = { port = 80 }
restart = "always"
[vm.more]
app = "db.py"
profiles = ["more"]
"""


def test_a_stack_under_test(tmp_path: Path, accel: str) -> None:
    for name, text in (("db.py", DB), ("web.py", WEB), ("compose.toml", FILE)):
        (tmp_path / name).write_text(text)
    before = dict(os.environ)
    with compose(tmp_path, variables={"ACCEL": accel}) as stack:
        assert os.environ == before
        assert stack.vms == ["db", "web"]
        assert stack.said == ["db is started", "web is started"]
        assert stack.addresses("web") == {"default": "10.100.0.3"}
        assert "open" in stack.log("db")
        assert stack.status("web").spec.accel == accel

        def ask() -> bytes:
            with socket.create_connection(("127.0.0.1", stack.ports("web")[80]), 20) as s:
                return s.recv(100)

        assert ask() == b"1"
        assert stack.exec("db", "print(6 * 7)") == "42\n"
        with pytest.raises(GuestError, match="ZeroDivisionError"):
            stack.exec("db", "1 / 0")
        with pytest.raises(NotFound, match="there is no VM cache in the stack") as told:
            stack.log("cache")
        assert told.value.evidence == "there are: db, web"
        state = str(stack.status("db").folder.path.parents[2])
        env = {**os.environ, "XDG_STATE_HOME": state}
        done = floe("compose", "exec", tmp_path, "db", "print(s)", "--timeout", "30", env=env)
        assert (done.returncode, done.stdout.strip()[:7]) == (0, "<socket"), done.stderr
        done = floe("compose", "exec", tmp_path, "cache", "1", env=env)
        assert done.returncode == 127
        assert "there is no VM cache in the stack" in done.stderr
        done = floe("compose", "exec", tmp_path, "web", "1", env=env)
        assert (done.returncode, "has no REPL: its image is sealed" in done.stderr) == (125, True)

        # Its policy starts it again, at the same port and on the same network.
        stack.kill("web")
        until(lambda: stack.status("web").restarts == 1 and stack.status("web").state == "running", "its restart")

        def answers() -> bool:
            try:
                return ask() == b"1"
            except OSError:
                return False

        until(answers, "its answer", 30)
        processes = [
            found for vm in stack.vms for found in (stack.status(vm).folder.keeper, stack.status(vm).folder.vm)
        ]
    assert not Path(state).exists()
    for process in processes:
        assert process is not None
        gone(process)


def test_a_stack_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "compose.toml").write_text('[vm.a]\napp = "a.py"\nready = { line = "up" }\n')
    with pytest.raises(FloeError, match="a has ended before it was ready: 3, exit"), compose(tmp_path):
        pytest.fail("it is up")
