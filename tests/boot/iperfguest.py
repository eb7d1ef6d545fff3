# SPDX-License-Identifier: MIT
"""A running images/iperf for the tests, and the tools that measure."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from floe.testing import Boot, Guest
from tests.boot.served import Served, stop_all

DEADLINE_S = 120.0  # for one test
_START_S = 30.0
_TOOL_S = 40.0


def tool(*words: object) -> str:
    """What iperf or iperf3 prints; it must succeed."""
    argv = [str(word) for word in words]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"SKIP: {argv[0]} is not installed")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_TOOL_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Iperf(Served):
    """A running server that serves."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        self.port, self.port2, self.metrics = vm.ports[5201], vm.ports[5001], vm.ports[9100]
        assert vm.ports["5201/udp"] == self.port and vm.ports["5001/udp"] == self.port2  # the tools know one number
        vm.expect_exact("serving iperf3 on port 5201, iperf 2 on port 5001", timeout=_START_S)

    def iperf3(self, *words: object) -> dict[str, Any]:
        """A test of iperf3's; what its JSON says."""
        said = json.loads(tool("iperf3", "-J", "-c", "127.0.0.1", "-p", self.port, *words))
        assert "error" not in said
        return dict(said)

    def iperf2(self, *words: object) -> list[list[str]]:
        """A test of iperf 2's; the fields of its lines of CSV."""
        text = tool("iperf", "-y", "C", "-c", "127.0.0.1", "-p", self.port2, *words)
        return [line.split(",") for line in text.split()]


BootIperf = Callable[..., Iperf]


def serve(boot: Boot) -> Iterator[BootIperf]:
    """Body of a fixture boot_iperf(**env) -> Iperf. Each must end in order, without a traceback."""
    running: list[Iperf] = []

    def start(**env: str) -> Iperf:
        iperf = Iperf(boot("iperf", deadline_s=DEADLINE_S, ports=[9100], env=env))
        running.append(iperf)
        return iperf

    yield start
    stop_all(running)


def _listens(port: int, udp: bool) -> bool:
    kind, state = ("udp", "07") if udp else ("tcp", "0A")
    for table in (kind, kind + "6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[1].endswith(f":{port:04X}") and words[3] == state:
                return True
    return False


@contextmanager
def server(*words: str, udp: bool = False) -> Iterator[int]:
    """iperf or iperf3 as a server on a free port."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"SKIP: {words[0]} is not installed")
    with socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([*words, "-s", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _START_S
        while not _listens(port, udp):
            assert process.poll() is None and time.monotonic() < end, f"{words} does not listen"
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait(10)
