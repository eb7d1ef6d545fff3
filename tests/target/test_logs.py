# SPDX-License-Identifier: MIT
"""`floe logs` holds what the program said while hosts come and go: mpremote on the pty and the TCP port, floe's verbs."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import FLOE, floe
from tests.support.vms import Vms, log, until

MPREMOTE = str(Path(sys.executable).with_name("mpremote"))
SERVICE = """
import asyncio
async def main():
    try:
        n = 0
        while True:
            print("tick", n)
            n += 1
            await asyncio.sleep(0.1)
    finally:
        print("finally ran")
asyncio.run(main())
"""
TIMER = """
import machine
n = 0
def said(t):
    global n
    n += 1
    print("by a timer", n)
t = machine.Timer(-1)
def begin():
    t.init(period=1000, callback=said)
print("up")
"""
END = "import sys, time\nsys.atexit(lambda: print('last words'))\nprint('up')\ntime.sleep(60)\n"


@pytest.fixture
def vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    monkeypatch.setenv("HOME", str(tmp_path))
    with Vms(tmp_path, monkeypatch) as all_of_them:
        yield all_of_them


def start(vms: Vms, tmp_path: Path, text: str, *options: str) -> dict[str, str]:
    (tmp_path / "app.py").write_text(text)
    return vms.run("--dev", "--name", "a", *options, tmp_path / "app.py")


def mpremote(url: str, *words: str | Path) -> str:
    argv = [MPREMOTE, "connect", url, *map(str, words)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL, env={**os.environ}
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def fine(*argv: str | Path) -> str:
    done = floe(*argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.any_accel
def test_the_log_of_a_service_under_every_kind_of_host(vms: Vms, tmp_path: Path, accel: str) -> None:
    """Not a tick is lost, and nothing else is there."""
    vm = start(vms, tmp_path, SERVICE, "--accel", accel, "--console-port", "0", "--memory", "32M")
    content = random.Random(3).randbytes(20_000) + b"\x04\x04>\x04\x04>" * 50 + b"raw REPL; CTRL-B to exit\r\n>"
    (tmp_path / "there").write_bytes(content)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "shown.py").write_text("print('from the host')\n")
    until(lambda: "tick 2" in log("a"), "a tick")
    for url in (vm["pty"], vm["socket"]):
        assert mpremote(url, "exec", "print(6 * 7)") == "42\n"  # after what it takes for a soft reset
        mpremote(url, "resume", "cp", tmp_path / "there", ":/b", "+", "cp", ":/b", tmp_path / "back", "+", "rm", ":/b")
        assert (tmp_path / "back").read_bytes() == content
        assert "from the host" in mpremote(
            url, "mount", tmp_path / "m", "exec", "import sys, shown; del sys.modules['shown']"
        )
    assert fine("exec", "a", "print('typed')") == "typed\n"
    fine("cp", tmp_path / "there", "a:/b")
    (tmp_path / "back").unlink()
    fine("cp", "a:/b", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    fine("mount", "a", tmp_path / "m", "exec", "import shown; open('/remote/new', 'w').write('by the guest')")
    assert (tmp_path / "m" / "new").read_text() == "by the guest"
    with subprocess.Popen(
        [*FLOE, "exec", "a", "import time\nprint('in')\ntime.sleep(60)"], stdout=subprocess.PIPE
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline().strip() == b"in"
        assert fine("stop", "a") == "a\n"
        host.communicate(timeout=30)
    lines = log("a").splitlines()
    assert lines[-1] == "finally ran"
    assert lines[:-1] == [f"tick {n}" for n in range(len(lines) - 1)]


def test_what_a_program_says_at_the_raw_prompt_is_logged(vms: Vms, tmp_path: Path) -> None:
    """Nothing runs there but a timer's callback, while a host waits in raw mode between two programs, and behind it."""
    vm = start(vms, tmp_path, TIMER)
    until(lambda: "up" in log("a"), "its start")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(vm["unix"])
        sock.settimeout(30)
        seen = b""
        for typed, answer in (
            (b"\r\x01", b"raw REPL; CTRL-B to exit\r\n>"),
            (b"print('typed'); begin()\x04", b"typed\r\n\x04\x04>"),
            (b"", b"by a timer 1\r\n"),
            (b"", b"by a timer 2\r\n"),
            (b"t.deinit(); print(6 * 7); begin()\x04", b"42\r\n\x04\x04>"),
        ):
            sock.sendall(typed)
            while answer not in seen:
                data = sock.recv(4096)
                assert data
                seen += data
            seen = seen.partition(answer)[2]
    until(lambda: "by a timer 4" in log("a"), "a timer, once the host has left")
    said = log("a")
    numbers = [int(n) for n in re.findall(r"by a timer (\d+)", said)]
    assert numbers[:4] == [1, 2, 3, 4]
    for part in ("typed", "42", "raw REPL", "OK", "\x04"):
        assert part not in said


def test_the_end_of_a_service_that_is_stopped(vms: Vms, tmp_path: Path, accel: str) -> None:
    start(vms, tmp_path, SERVICE, "--accel", accel)
    until(lambda: "tick 2" in log("a"), "a tick")
    fine("stop", "a")
    lines = log("a").splitlines()
    assert lines == [*[f"tick {n}" for n in range(len(lines) - 1)], "finally ran"]


def test_the_last_words_of_a_script_that_is_stopped_at_its_repl(vms: Vms, tmp_path: Path) -> None:
    """The question is typed in raw mode, and the script's end comes there."""
    start(vms, tmp_path, END)
    until(lambda: "up" in log("a"), "its start")
    fine("stop", "a")
    said = log("a")
    assert said.startswith("up\n")
    assert "KeyboardInterrupt" in said
    assert "last words" in said
    assert "raw REPL" not in said
    assert "\x04" not in said
