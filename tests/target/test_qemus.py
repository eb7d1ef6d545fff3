# SPDX-License-Identifier: MIT
"""What depends on QEMU's version: an end is told once and as it was, and a VM's state can be saved and gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from floe.build import pipeline
from floe.image import elf
from floe.qemu.commandline import MACHINES, Endpoints, command_line
from floe.spec.vmspec import VmSpec

STARTS = 50
DEADLINE_S = 60
TICKS = """
import time
n = 0
while True:
    print("tick", n)
    n += 1
    time.sleep(0.05)
"""

pytestmark = pytest.mark.usefixtures("each_qemu")


@pytest.mark.parametrize("machine", MACHINES)
def test_fifty_ends_in_a_row(tmp_path: Path, accel: str, machine: str) -> None:
    """The status is the script's, always: what the guest does after it was told must not change it."""
    script = tmp_path / "five.py"
    script.write_text("import sys\nsys.exit(5)\n")
    spec = VmSpec(pipeline.build(script).path, machine=machine, accel=accel, cards=())
    argv = command_line(spec, Endpoints("null,id=console", "null,id=serial", lossless=False))
    statuses = Counter(
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE_S, check=False).returncode
        for _ in range(STARTS)
    )
    assert statuses == {(5 + 1) << 1 | 1: STARTS}


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_an_end_without_the_device_is_a_power_off(tmp_path: Path, accel: str, machine: str) -> None:
    """And no reset comes after it."""
    script = tmp_path / "off.py"
    script.write_text("import sys\nsys.exit(5)\n")
    spec = VmSpec(pipeline.build(script).path, machine=machine, accel=accel, cards=())
    endpoints = Endpoints("null,id=console", "null,id=serial", "stdio,id=qmp", lossless=False)
    argv = command_line(spec, endpoints)
    place = argv.index("isa-debug-exit,iobase=0xf4,iosize=4")
    del argv[place - 1 : place + 1]
    said = '{"execute": "qmp_capabilities"}\n{"execute": "cont"}\n'
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as vm:
        assert vm.stdin is not None and vm.stdout is not None
        try:
            vm.stdin.write(said)
            vm.stdin.flush()
            assert select.select([vm.stdout], [], [], DEADLINE_S)[0]
            assert vm.wait(DEADLINE_S) == 0
            reasons = [line["data"]["reason"] for line in map(json.loads, vm.stdout) if line.get("event") == "SHUTDOWN"]
        finally:
            vm.kill()
    assert reasons == ["guest-shutdown"]


class Machine:
    """A QEMU that waits to be told what to do, and its guest's console in a file."""

    def __init__(self, spec: VmSpec, folder: Path, *more: str) -> None:
        self._console = folder / "console"
        path = folder / "qmp"
        argv = command_line(
            spec,
            Endpoints(
                f"file,id=console,path={self._console}",
                "null,id=serial",
                f"socket,id=qmp,path={path},server=on,wait=off",
                lossless=False,
            ),
        )
        self.process = subprocess.Popen([*argv, *more], stdin=subprocess.DEVNULL)
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(DEADLINE_S)
        self._lines = self._sock.makefile("r")
        try:
            wait(lambda: path.exists() and self._sock.connect_ex(str(path)) == 0)
            assert "QMP" in self._lines.readline()
            self.do("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def do(self, command: str, fds: list[int] | None = None, **arguments: Any) -> None:
        line = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        socket.send_fds(self._sock, [line], fds or [])
        while True:
            answer = json.loads(self._lines.readline())
            assert "error" not in answer, answer
            if "return" in answer:
                return

    def transferred(self) -> None:
        """Wait for the end of a migration."""
        while True:
            event = json.loads(self._lines.readline())
            if event.get("event") == "MIGRATION" and event["data"]["status"] in ("completed", "failed"):
                assert event["data"]["status"] == "completed"
                return

    def text(self) -> str:
        return self._console.read_text() if self._console.exists() else ""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._lines.close()
        self._sock.close()


@contextlib.contextmanager
def machine(spec: VmSpec, folder: Path, *more: str) -> Iterator[Machine]:
    folder.mkdir()
    made = Machine(spec, folder, *more)
    try:
        yield made
    finally:
        made.close()


def wait(what: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def events_on(vm: Machine) -> None:
    vm.do("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])


def test_a_state_is_saved_and_gone_on_with(tmp_path: Path, accel: str) -> None:
    """Stopped, migrated to a file and loaded into a new QEMU, a script goes on at its next line; so does the first."""
    script = tmp_path / "ticks.py"
    script.write_text(TICKS)
    path = pipeline.build(script).path
    assert elf.read(path).content["profile"] == "sealed"
    spec = VmSpec(path, memory=16 << 20, accel=accel)
    state = tmp_path / "state"
    with machine(spec, tmp_path / "one") as one:
        events_on(one)
        one.do("cont")
        wait(lambda: "tick 3\n" in one.text())
        one.do("stop")
        with state.open("wb") as file:
            one.do("getfd", [file.fileno()], fdname="state")
            one.do("migrate", uri="fd:state")
            one.transferred()
        before = one.text()
        with machine(spec, tmp_path / "two", "-incoming", "defer") as two:
            events_on(two)
            fd = os.open(state, os.O_RDONLY)
            two.do("getfd", [fd], fdname="state")
            os.close(fd)
            two.do("migrate-incoming", uri="fd:state")
            two.transferred()
            two.do("cont")
            last = before.count("\n")
            wait(lambda: f"tick {last + 2}\n" in two.text())
            lines = before + two.text()
            assert lines.startswith("".join(f"tick {n}\n" for n in range(last + 3)))
            one.do("cont")
            wait(lambda: f"tick {last + 2}\n" in one.text())
            assert "PANIC" not in lines
