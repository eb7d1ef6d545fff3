# SPDX-License-Identifier: MIT
"""`floe serve` beside the cold boot of the same image: from a client's connect() to its first byte where the VM is
started for it, and where it runs already; and requests a second through it. Milliseconds."""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from floe.bench import guests
from floe.errors import VmError
from floe.vm.vm import Vm
from tests.bench.common import WEB, Options, Report, alternate, build, floe_vm, say, spread

_DEADLINE_S = 60.0
_IDLE = "200ms"
_SETTLED_S = 1.0  # for a VM that was started to wait for its connection
_FLOE = [sys.executable, "-c", "from floe.cli.main import main; main()"]
_REQUEST = b"GET / HTTP/1.0\r\n\r\n"


class _Server:
    """A `floe serve` that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        found = None
        while found is None:  # it may have more to say before
            if not (line := process.stderr.readline()):
                raise VmError("floe serve did not start")
            found = re.search(rb":(\d+) is served", line)
        self.port = int(found[1])
        self._children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def first_byte(self) -> float:
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), timeout=_DEADLINE_S) as sock:
            sock.sendall(_REQUEST)
            if sock.recv(1) != b"H":
                raise VmError("nothing was served")
            return (time.monotonic() - started) * 1000

    def until_served(self, count: int) -> None:
        """So many VMs run, and the rest of the machine's time is theirs for a while."""
        deadline = time.monotonic() + _DEADLINE_S
        while len(self._children.read_text().split()) != count:
            if time.monotonic() > deadline:
                raise VmError(f"there are no {count} VMs")
            select.select([], [], [], 0.01)
        select.select([], [], [], _SETTLED_S)

    def until_alone(self) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while self._children.read_text():
            if time.monotonic() > deadline:
                raise VmError("a VM does not end")
            select.select([], [], [], 0.01)


@contextmanager
def _serving(elf: Path, accel: str, *how: str) -> Iterator[_Server]:
    argv = [*_FLOE, "serve", "-p", "0:80", "--accel", accel, *how, str(elf)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield _Server(process)
        finally:
            process.terminate()


def _first_byte(vm: Vm) -> float:
    try:
        return vm.loop.run_until_complete(asyncio.wait_for(guests.served(vm), _DEADLINE_S))
    except TimeoutError:
        raise VmError(f"the guest did not serve within {_DEADLINE_S:.0f} s") from None


def _boot(elf: Path, accel: str) -> Report:
    with floe_vm(elf, accel=accel, ports=[80]) as vm:
        return {"first_byte": _first_byte(vm)}


def _started(server: _Server) -> Report:
    """By a connection that finds no VM; and by the next one."""
    server.until_alone()
    return {"first_byte": server.first_byte(), "next": server.first_byte()}


def _each(server: _Server) -> Report:
    server.until_alone()
    return {"first_byte": server.first_byte()}


def _ahead(server: _Server) -> Report:
    """By one of two VMs that wait."""
    server.until_served(2)
    return {"first_byte": server.first_byte()}


def _requests(port: int, seconds: int) -> float:
    argv = ["wrk", "-t", "1", "-c", "8", "-d", str(seconds), f"http://127.0.0.1:{port}/"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None or "Socket errors" in said:
        raise VmError("wrk met errors", evidence=said)
    return float(found[1])


def _throughput(elf: Path, accel: str, options: Options) -> Report:
    def direct() -> float:
        with floe_vm(elf, accel=accel, ports=[80]) as vm:
            _first_byte(vm)
            return _requests(vm.ports[80], options.seconds(5))

    def served() -> float:
        with _serving(elf, accel, "--idle-stop", "60s") as server:
            server.first_byte()
            return _requests(server.port, options.seconds(5))

    runs = alternate(options.rounds, {"direct": direct, "served": served})
    return {name: spread(values, 0) for name, values in runs.items()}


def bench(options: Options) -> Report:
    """By accelerator: medians, and ratios to the cold boot of the same round."""
    elf = build(WEB)
    report: Report = {"processors": os.cpu_count()}
    for accel in options.accels:
        say(f"serve {accel}")
        with (
            _serving(elf, accel, "--idle-stop", _IDLE) as idle,
            _serving(elf, accel, "--per-connection") as each,
            _serving(elf, accel, "--per-connection", "--pool", "2") as ahead,
        ):
            systems = {
                "boot": lambda accel=accel: _boot(elf, accel),
                "idle": lambda server=idle: _started(server),
                "each": lambda server=each: _each(server),
                "ahead": lambda server=ahead: _ahead(server),
            }
            runs = alternate(3 if options.quick else 10, systems)
        boots = [run["first_byte"] for run in runs["boot"]]
        report[accel] = {"boot": spread(boots, 1), "next": spread([run["next"] for run in runs["idle"]], 1)}
        for name in ("idle", "each", "ahead"):
            firsts = [run["first_byte"] for run in runs[name]]
            report[accel][name] = spread(firsts, 1)
            report[accel][f"ratio_{name}"] = spread([f / b for f, b in zip(firsts, boots, strict=True)], 2)
        report[accel]["requests_per_s"] = _throughput(elf, accel, options)
    return report
