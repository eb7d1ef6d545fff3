# SPDX-License-Identifier: MIT
"""A connection that is handed to a child beside one that its VM serves itself: to the first answer, a byte there and back,
and bytes a second each way."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from floe.errors import VmError
from tests.bench.common import GUESTS, Options, Report, alternate, build, say, spread

_DEADLINE_S = 120.0
_BYTES = 16 << 20  # as the guest has it
_PINGS = 200
_FLOE = [sys.executable, "-c", "from floe.cli.main import main; main()"]
_FIGURES = ("first_ms", "there_and_back_us", "down_mb_s", "up_mb_s")


@contextmanager
def _serving(elf: Path, accel: str) -> Iterator[int]:
    """The port of a VM that serves."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    argv = [*_FLOE, "run", "--accel", accel, "-p", f"127.0.0.1:{port}:8080", str(elf)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            if b"serving" not in process.stdout.readline():
                raise VmError("the server did not start")
            yield port
        finally:
            process.terminate()


def _answered(sock: socket.socket, word: bytes) -> None:
    sock.sendall(word)
    if sock.recv(1) != word[-1:]:
        raise VmError("another answer came")


def _measure(port: int, who: bytes) -> Report:
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=_DEADLINE_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _answered(sock, who + b"p")
        marks = [begun, time.perf_counter()]
        for _ in range(_PINGS):
            _answered(sock, b"p")
        marks.append(time.perf_counter())
        sock.sendall(b"d")
        left = _BYTES
        while left > 0:
            left -= len(sock.recv(1 << 18))
        marks.append(time.perf_counter())
        sock.sendall(b"u" + bytes(_BYTES))
        if sock.recv(1) != b"u":
            raise VmError("another answer came")
        marks.append(time.perf_counter())
    first, pings, down, up = (after - before for before, after in itertools.pairwise(marks))
    values = (first * 1e3, pings / _PINGS * 1e6, _BYTES / down / 1e6, _BYTES / up / 1e6)
    return dict(zip(_FIGURES, values, strict=True))


def bench(options: Options) -> Report:
    """By accelerator: each figure of both, the second of a child that is forked when the client comes."""
    elf = build(GUESTS / "guest_handoff.py")
    report: Report = {}
    for accel in options.accels:
        say(f"handoff {accel}")
        with _serving(elf, accel) as port:
            systems = {
                "here": lambda port=port: _measure(port, b"h"),
                "handed": lambda port=port: _measure(port, b"c"),
            }
            runs = alternate(2 if options.quick else 10, systems)
        report[accel] = {
            name: {figure: spread([run[figure] for run in values], 1) for figure in _FIGURES}
            for name, values in runs.items()
        }
    return report
