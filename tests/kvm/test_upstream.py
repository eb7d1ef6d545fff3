# SPDX-License-Identifier: MIT
"""MicroPython's own tests under ordinary KVM: the same runner and exceptions as in ../upstream, every sixth file of basics."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import threading
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.kvmlab import nested
from floe.kvmlab.lab import LAB
from floe.spec.vmspec import VmSpec
from tests.upstream import suite
from tests.upstream.suite import app, listed, matching

__all__ = ["app"]  # a fixture

EACH = 6
DEADLINE_S = 150


def relay(sock: socket.socket, master: int, ended: threading.Event) -> None:
    """Copy between the guest's console and a terminal, until told to end."""
    while not ended.is_set():
        ready, _, _ = select.select([sock, master], [], [], 0.2)
        if sock in ready:
            data = sock.recv(4096)
            if not data:
                return
            os.write(master, data)
        if master in ready:
            sock.sendall(os.read(master, 4096))


def test_basics(lab: None, build: Callable[..., Path], app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = suite.files(("basics",))
    names = sorted(set(names) - matching(set(names), listed("Not run") | listed("Timing")))[::EACH]
    folder = suite.BUILD / "kvm"
    folder.mkdir(parents=True, exist_ok=True)
    master, slave = pty.openpty()
    tty.setraw(slave)
    ended = threading.Event()
    with (
        nested.settled(VmSpec(build(app, dev=True), cards=())) as spec,
        LAB.connect(nested.script(nested.command(spec))) as sock,
    ):
        sock.settimeout(60)
        said = b""
        while b">>> " not in said:
            said += sock.recv(4096)
        thread = threading.Thread(target=relay, args=(sock, master, ended), daemon=True)
        thread.start()
        try:
            done = subprocess.run(
                suite._command(f"port:{os.ttyname(slave)}", folder, "bytecode", names),
                cwd=suite.TESTS, env=suite._environment(), capture_output=True, text=True, errors="replace",
                timeout=DEADLINE_S, check=False,
            )  # fmt: skip
        finally:
            ended.set()
            thread.join(10)
            LAB.call("kill -9 $(pidof qemu-system-x86_64)")
            os.close(slave)
            os.close(master)
    result = suite.Result()
    result.add(done.stdout, folder)
    with capsys.disabled():
        print(f"\nbasics under KVM: {len(result.passed)} passed, {len(result.skipped)} skipped", end=" ")
    assert not result.failed and re.search(r"\d+ tests performed", done.stdout), result.report() + done.stdout[-2000:]
    assert len(result.passed) > 60
