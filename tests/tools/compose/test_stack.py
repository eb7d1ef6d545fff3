# SPDX-License-Identifier: MIT
"""`floe compose` with real VMs: up, up again, up after an edit, logs, down; and nothing is left."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.compose import stack
from floe.errors import FloeError
from floe.store import stackfolder
from tests.support import tiny
from tests.support.command import FLOE, floe
from tests.support.stacks import Stacks, left
from tests.support.vms import until

SERVE = """
import os, sys, time
print("serving", os.getenv("WHO"), sys.argv[1:], "\\x1b]0;title\\x07")
while True:
    time.sleep(1)
"""
JOB = "print('migrated')\n"


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stacks]:
    with Stacks(tmp_path, monkeypatch) as all_of_them:
        all_of_them.folder = tmp_path / "shop"
        all_of_them.folder.mkdir()
        yield all_of_them


def file(accel: str = "auto", *, who: str = "db", replicas: int = 2, more: str = "") -> str:
    return f"""
[vm.job]
app = "job.py"
accel = "{accel}"
after = ["db"]
ready = {{ exit = 0 }}
[vm.db]
app = "serve.py"
accel = "{accel}"
env = {{ WHO = "{who}" }}
ready = {{ line = "serving {who}" }}
[vm.web]
app = "serve.py"
accel = "{accel}"
memory = "16M"
replicas = {replicas}
args = ["--port", "a b"]
after = ["job"]
{more}
"""


def test_from_nothing_to_nothing(stacks: Stacks, accel: str) -> None:
    stacks.write(file(accel), serve=SERVE, job=JOB)
    planned = stacks.compose("plan").stdout
    assert [line.split() for line in planned.splitlines()] == [
        ["start", "job"], ["start", "db"], ["start", "web.1"], ["start", "web.2"],
    ]  # fmt: skip
    assert left() == []
    said = stacks.compose("up", "-d").stderr
    assert [line.split()[1] for line in said.splitlines()][:2] == ["db", "job"]  # in order
    before = stacks.ps()
    assert {label: (vm["state"], vm["exit_code"], vm["ready"]) for label, vm in before.items()} == {
        "job": ("ended", 0, True), "db": ("running", None, True),
        "web.1": ("running", None, True), "web.2": ("running", None, True),
    }  # fmt: skip
    assert {vm["accel"] for vm in before.values()} == {accel}
    table = stacks.compose("ps").stdout.splitlines()
    assert table[0].split() == ["VM", "STATE", "READY", "ADDRESS", "PORTS", "MEMORY", "UPTIME"]
    assert {"shop.db", "shop.web.1"} <= {vm["name"] for vm in before.values()}
    drawn = json.loads(stacks.compose("graph", "--json").stdout)
    assert {name: vm["state"] for name, vm in drawn["vms"].items()} == {"job": "up", "db": "up", "web": "up"}

    assert stacks.compose("up", "-d").stderr == "floe: nothing to do: all is up as the file says\n"
    assert {vm["pid"] for vm in stacks.ps().values()} == {vm["pid"] for vm in before.values()}

    until(lambda: stacks.compose("logs", "web").stdout.count("serving") == 2, "what both replicas say")
    lines = stacks.compose("logs").stdout.splitlines()
    assert "job   | migrated" in lines
    assert "db    | serving db [] ^[]0;title^G" in lines
    assert "web.2 | serving None ['--port', 'a b'] ^[]0;title^G" in lines
    assert lines.index("job   | migrated") < lines.index("web.2 | serving None ['--port', 'a b'] ^[]0;title^G")
    (told,) = [json.loads(line) for line in stacks.compose("logs", "job", "--json").stdout.splitlines()]
    assert (told["vm"], told["line"], 0 <= time.time() - told["time"] < 60) == ("job", "migrated", True)

    # An edit: one VM has another environment, one replica less is wanted, and a VM more.
    stacks.write(file(accel, who="base", replicas=1, more='[vm.extra]\napp = "serve.py"'))
    planned = stacks.compose("plan").stdout
    assert [line.split() for line in planned.splitlines()] == [
        ["remove", "web.2", "fewer", "replicas"], ["keep", "job", "done"], ["replace", "db", "env", "changed"],
        ["keep", "web.1"], ["start", "extra"],
    ]  # fmt: skip
    stacks.compose("up", "-d")
    after = stacks.ps()
    assert set(after) == {"job", "db", "web.1", "extra"}
    assert after["web.1"]["pid"] == before["web.1"]["pid"]
    assert after["db"]["pid"] != before["db"]["pid"]
    assert "serving base" in stacks.compose("logs", "db").stdout

    os.kill(after["db"]["pid"], signal.SIGKILL)
    until(lambda: stacks.ps()["db"]["state"] != "running", "its death")
    assert not stacks.ps()["db"]["ready"]  # it was
    assert "replace  db     crashed" in stacks.compose("plan").stdout
    (stacks.folder / "compose.toml").unlink()  # what is up can be looked at and ended still
    assert stacks.ps()["db"]["state"] != "running"
    follower = subprocess.Popen(
        [*FLOE, "compose", "logs", "-f", str(stacks.folder), "web"], stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    assert "serving None" in follower.stdout.readline()
    said = stacks.compose("down").stderr
    assert "floe: web.1 ended (1, stopped)" in said
    assert "KeyboardInterrupt" in follower.communicate(timeout=30)[0]
    assert follower.returncode == 0
    assert left() == []
    assert "no such file" in stacks.compose("down", code=127).stderr


def test_attended(stacks: Stacks) -> None:
    """Logs on a terminal, a VM's death is told, Ctrl-C ends all and leaves nothing."""
    stacks.write(file(), serve=SERVE, job="print('migrated')\nraise SystemExit(0)\n")
    ours, theirs = pty.openpty()
    up = subprocess.Popen(
        [*FLOE, "compose", "up", str(stacks.folder)], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said = b""

    def read_until(word: bytes) -> None:
        nonlocal said
        end = time.monotonic() + 60
        while word not in said:
            assert select.select([ours], [], [], max(0, end - time.monotonic()))[0], said.decode(errors="replace")
            said += os.read(ours, 1 << 16)

    read_until(b"web.2 |\x1b[0m serving")
    read_until(b"web.1 |\x1b[0m serving")
    assert b"floe: job ended (0, exit)" in said
    assert b"\x1b]0;title" not in said  # of a guest's: shown, not obeyed
    os.kill(stacks.ps()["web.1"]["pid"], signal.SIGKILL)
    read_until(b"floe: web.1 crashed (")
    up.send_signal(signal.SIGINT)
    read_until(b"floe: db ended (1, stopped)")
    assert up.wait(30) == 130
    os.close(ours)
    assert left() == []


def test_one_that_does_not_start_ends_all(stacks: Stacks) -> None:
    text = '[vm.a]\napp = "serve.py"\n[vm.b]\napp = "serve.py"\nready = { line = "never", within = 0.5 }\n'
    stacks.write(text, serve=SERVE)
    done = stacks.compose("up", code=124)
    assert "floe: b is not ready after 0.5 s: no line with 'never'" in done.stderr
    assert "a | serving" in done.stdout
    assert left() == []


def interrupted(stacks: Stacks, number: signal.Signals, *words: str, times: int = 1) -> int:
    """`up` gets a signal once its first VM runs, and again while it ends."""
    argv = [*FLOE, "compose", "up", str(stacks.folder), *words]
    up = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: any(vm["state"] == "running" for vm in json.loads(floe("ps", "--json").stdout)), "a VM", 60)
        for _ in range(times):
            up.send_signal(number)
            time.sleep(0.05)
        return up.wait(60)
    finally:
        up.kill()


def test_up_that_is_interrupted_or_killed(stacks: Stacks) -> None:
    stacks.write('[vm.a]\napp = "serve.py"\n[vm.b]\napp = "serve.py"\nready = { line = "never" }\n', serve=SERVE)
    assert interrupted(stacks, signal.SIGINT, "-d") == 130
    assert left() == []
    assert interrupted(stacks, signal.SIGTERM) == 130
    assert left() == []
    for words in ((), ("-d",)):  # by somebody who does not want to wait
        assert interrupted(stacks, signal.SIGINT, *words, times=4) == 130
        assert left() == []
    assert interrupted(stacks, signal.SIGKILL) == -signal.SIGKILL
    assert "a" in stacks.ps()
    stacks.compose("down")
    until(lambda: left() == [], "the end of what was just being started")


def test_a_reader_of_the_logs_that_leaves(stacks: Stacks) -> None:
    stacks.write('[vm.a]\napp = "serve.py"\n', serve=SERVE.replace("sleep(1)", "sleep(0.1); print('more')"))
    up = subprocess.Popen([*FLOE, "compose", "up", str(stacks.folder)], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert up.stdout is not None and up.stdout.readline().startswith(b"a | serving")
        up.stdout.close()
        assert up.wait(60) == 1
    finally:
        up.kill()
    assert left() == []


def test_one_that_another_is_at_work_on_is_not_forgotten(stacks: Stacks) -> None:
    """It may be about to start the first VM."""
    folder = stackfolder.provide(stacks.folder / "compose.toml", "", "shop")
    with folder.locked():
        stack.clear_empty(folder)
        assert folder.read() is not None
    stack.clear_empty(folder)
    assert left() == []
    with pytest.raises(FloeError, match="not there any more"), folder.locked():
        pass


def test_many_stacks_at_once(stacks: Stacks, tmp_path: Path) -> None:
    image = tiny.build(tmp_path, tiny.HANG)
    folders = [tmp_path / f"s{n}" for n in range(10)]
    for folder in folders:
        folder.mkdir()
        (folder / "compose.toml").write_text("".join(f'[vm.{vm}]\napp = "{image}"\n' for vm in "abc"))
    for verb in (("up", "-d"), ("down", "--timeout", "0")):
        running = [
            subprocess.Popen([*FLOE, "compose", *verb, str(folder)], stderr=subprocess.PIPE) for folder in folders
        ]
        assert [(process.communicate(timeout=240), process.returncode)[1] for process in running] == [0] * len(folders)
        assert len(json.loads(floe("ps", "--json").stdout)) == (30 if verb[0] == "up" else 0)
    assert left() == []


def test_profiles(stacks: Stacks, tmp_path: Path) -> None:
    stacks.write('[vm.a]\napp = "serve.py"\n[vm.b]\napp = "serve.py"\nprofiles = ["debug"]\n', serve=SERVE)
    assert stacks.compose("up", "-d").stderr == "floe: a is started\n"
    assert stacks.compose("up", "-d", "--profile", "debug").stderr == "floe: b is started\n"
    assert stacks.compose("plan").stdout.split() == ["keep", "a"]
    assert "nothing to do" in stacks.compose("up", "-d").stderr
    assert {label: vm["state"] for label, vm in stacks.ps().items()} == {"a": "running", "b": "running"}
    image = tiny.build(tmp_path, tiny.HANG)  # it is larger than that
    stacks.write(f'[vm.a]\napp = "{image}"\nmemory = "2M"\n[vm.b]\napp = "serve.py"\nprofiles = ["debug"]\n')
    done = stacks.compose("up", "-d", code=125)
    assert "compose.toml: vm.a: 2 MiB of memory are too little" in done.stderr
    assert 'try: memory = "' in done.stderr
    assert {label: vm["state"] for label, vm in stacks.ps().items()} == {"a": "running", "b": "running"}
    assert "--profile none: no VM of" in stacks.compose("up", "-d", "--profile", "none", code=125).stderr
    stacks.write('[vm.a]\napp = "serve.py"\n')
    assert "floe: b is removed: not in the file\n" in stacks.compose("up", "-d").stderr
    stacks.compose("down", "--timeout", "0")
    assert left() == []


def test_all_end_by_themselves(stacks: Stacks) -> None:
    path = stacks.write(
        '[vm.a]\napp = "job.py"\n[vm.b]\napp = "bad.py"\n', "two.toml", job=JOB, bad="raise SystemExit(7)"
    )
    done = stacks.compose("up", path, code=7)
    assert done.stdout.splitlines() == ["a | migrated"]
    assert "floe: b ended (7, exit)" in done.stderr
    assert left() == []


def test_one_that_is_started_again(stacks: Stacks) -> None:
    code = "import machine\nprint('again')\nraise SystemExit(3)\n"
    stacks.write('[vm.a]\napp = "bad.py"\nrestart = "on-failure:2"\n[vm.b]\napp = "job.py"\n', bad=code, job=JOB)
    done = stacks.compose("up", code=3)
    lines = done.stdout.splitlines()
    assert lines.count("a | again") == 3
    assert any("restart 1 in" in line for line in lines)
    assert "floe: a ended (3, exit)" in done.stderr
    assert left() == []


def test_what_does_not_become_ready(stacks: Stacks) -> None:
    stacks.write('[vm.a]\napp = "job.py"\nready = { line = "never" }\n[vm.b]\napp = "job.py"\nafter = ["a"]\n', job=JOB)
    done = stacks.compose("up", "-d", code=125)
    assert "floe: a has ended before it was ready: 0, exit\n  migrated\n  try: floe logs shop.a" in done.stderr
    assert set(stacks.ps()) == {"a"}
    stacks.write('[vm.a]\napp = "serve.py"\nready = { line = "never", within = 0.5 }\n', serve=SERVE)
    done = stacks.compose("up", "-d", code=124)
    assert "floe: a is not ready after 0.5 s: no line with 'never'" in done.stderr
    assert stacks.ps()["a"]["state"] == "running"
    stacks.compose("down")
    assert left() == []


def test_stacks_of_one_name(stacks: Stacks, tmp_path: Path) -> None:
    other = tmp_path / "other" / "shop"
    other.mkdir(parents=True)
    text = '[vm.a]\napp = "serve.py"\n'
    stacks.write(text, serve=SERVE)
    (other / "serve.py").write_text(SERVE)
    (other / "compose.toml").write_text(text)
    stacks.compose("up", "-d")
    stacks.compose("up", other, "-d")
    names = [json.loads(stacks.compose("ps", path, "--json").stdout)[0]["name"] for path in (stacks.folder, other)]
    assert names == ["shop.a", "shop-2.a"]
    (other / "third.toml").write_text('name = "shop"\n' + text)
    done = stacks.compose("up", other / "third.toml", code=125)
    assert "third.toml: name: there is a stack shop already" in done.stderr
    assert f"of {stacks.folder}/compose.toml" in done.stderr
    stacks.compose("down", other)
    assert stacks.ps()["a"]["state"] == "running"
    stacks.compose("down")
    assert left() == []


def test_a_port_in_use(stacks: Stacks) -> None:
    web = "import socket\ns = socket.socket()\ns.bind(('0.0.0.0', 80))\ns.listen(1)\ns.accept()\n"
    text = '[vm.a]\napp = "web.py"\nports = ["0:80"]\n'
    stacks.write(text, web=web)
    stacks.compose("up", "-d")
    (port,) = stacks.ps()["a"]["ports"]
    second = stacks.write(f'[vm.b]\napp = "web.py"\nports = ["{port["host"]}:80"]\n', "second.toml")
    done = stacks.compose("up", second, "-d", code=125)
    assert f"second.toml: vm.b: port {port['host']} is in use" in done.stderr
    assert "try: ports = [" in done.stderr
    stacks.compose("down")
    stacks.compose("down", second, code=127)
    assert left() == []
