# SPDX-License-Identifier: MIT
"""demo.py, what `make run` shows: a page through the forwarded port, the size, four stamps, and an orderly end."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
import urllib.request

DEMO = [sys.executable, "-m", "floe.cli.demo"]


def test_it_shows_a_page_and_stops_by_itself() -> None:
    done = subprocess.run(DEMO, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    said = done.stderr
    assert done.returncode == 0, said
    assert "HTTP/1.1 200 OK" in said
    assert "<!doctype html>" in said
    size = re.search(r"image: (.+), .* \((\d+) bytes\)", said)
    assert size
    assert os.path.getsize(size[1]) == int(size[2])
    stamps = re.search(r"kernel entry ([\d.]+), first Python line ([\d.]+), first byte served ([\d.]+)", said)
    assert stamps
    entry, python, byte = map(float, stamps.groups())
    assert 0 < entry < python < byte < 10_000
    assert "floe: stamps" not in done.stdout  # the guest's line is ours
    served = re.search(r"web: (\d+) requests served", done.stdout)
    asked = re.search(r"floe: GET http\S+/(?:, asked (\d+) times until it answered)?\n", said)
    assert served and asked
    assert 1 <= int(served[1]) <= int(asked[1] or 1)
    assert done.stdout.count("info web: stopped") == 1
    assert "Traceback" not in said + done.stdout


def test_the_next_port_when_the_usual_one_is_taken() -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", 8080))
            holder.listen()
        except OSError:
            pass  # somebody else has it: as good
        done = subprocess.run(DEMO, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    match = re.search(r"floe: port 8080 is in use: using (\d+)\n", done.stderr)
    assert match
    assert f"GET http://127.0.0.1:{match[1]}/" in done.stderr


def test_on_a_terminal_it_serves_until_ctrl_c() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(DEMO[0], DEMO)
    said = b""
    deadline = time.monotonic() + 60
    while b"until Ctrl-C" not in said:
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], said
        said += os.read(terminal, 65536)
    match = re.search(rb"serving (http://127\.0\.0\.1:\d+/)", said)
    assert match
    with urllib.request.urlopen(match[1].decode(), timeout=10) as page:
        assert page.status == 200
    os.write(terminal, b"\x03")
    try:
        while data := os.read(terminal, 65536):
            said += data
    except OSError:
        pass  # how a pseudo-terminal says that the last process is gone
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
