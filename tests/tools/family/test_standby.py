# SPDX-License-Identifier: MIT
"""The hypervisor that waits for a VM's next fork (tools/floe/family/standby.py), with a real QEMU: who gets it, whose
disk is in it, and that it leaves with the VM, or without it."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floe.spec.runoptions import RunOptions
from floe.vm import plan
from floe.vm.child import Child
from floe.vm.vm import Vm

WAIT_S = 60.0
APP = """
import os, sys, vfs

def read():
    with open("/n") as f:
        return f.read()

def write(text):
    with open("/n", "w") as f:
        f.write(text)

n = 0
print("up")
while sys.stdin.readline():
    n += 1
    write("parent's " + str(n))
    pid = os.fork()
    if pid == 0:
        print("child", n, "has", read())
        write("child's")
        if os.fork() == 0:
            print("grandchild", n, "has", read())
            os._exit(0)
        os.wait()
        os._exit(n)
    status = os.waitpid(pid, 0)[1]
    print("parent", n, "has", read(), "and", status >> 8)
"""


def planned(folder: Path, accel: str = "auto") -> Vm:
    app = folder / "forking.py"
    app.write_text(APP)
    disk = folder / "disk.img"
    spec, _ = plan.plan(app, RunOptions(accel=accel, disks=(f"{disk}:size=1M",), children=3))
    return Vm(spec)


class Forking:
    """A VM that forks twice when it is told to, and the QEMUs of all that come of it."""

    def __init__(self, vm: Vm) -> None:
        self.vm = vm
        self.turn = 0
        self.pids: list[int] = []  # of children's QEMUs
        assert vm.family is not None
        self.family = vm.family
        tell = self.family.on_child

        def born(name: str, machine: object) -> None:
            assert isinstance(machine, Child)
            self.pids.append(machine.pid)
            tell(name, machine)

        self.family.on_child = born
        vm.expect_exact("up\n", WAIT_S)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline
            self.vm.pump(condition, 0.05)  # the VM's own events alone make it look again

    def fork(self) -> None:
        """A child and its child, each with what its parent's disk holds."""
        self.turn += 1
        self.vm.send(b"\n")
        self.vm.expect_exact(f"child {self.turn} has parent's {self.turn}\n", WAIT_S)
        self.vm.expect_exact(f"grandchild {self.turn} has child's\n", WAIT_S)
        self.vm.expect_exact(f"parent {self.turn} has parent's {self.turn} and {self.turn}\n", WAIT_S)

    def qemus(self) -> set[int]:
        """All that this process has, without the first VM's."""
        own = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return {int(pid) for pid in own if "qemu" in _command(pid)} - {self.vm.pid}

    def standby(self) -> int:
        """The QEMU that waits."""
        self.until(lambda: self.family.ready and len(self.qemus()) == 1)
        return self.qemus().pop()


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has ended
        return ""


@pytest.fixture
def forking(tmp_path: Path, floe_accel: str) -> Iterator[Forking]:
    with planned(tmp_path, floe_accel) as vm:
        yield Forking(vm)


def test_the_next_fork_takes_it_with_the_disk_as_it_is_then(forking: Forking) -> None:
    assert forking.qemus() == set()
    forking.fork()
    waiting = forking.standby()
    assert waiting not in forking.pids
    assert forking.family.children == []
    forking.fork()
    assert forking.pids[2] == waiting
    assert forking.standby() not in forking.pids
    assert len(set(forking.pids)) == 4


def test_one_that_is_killed_is_replaced_by_the_next_fork(forking: Forking) -> None:
    forking.fork()
    os.kill(forking.standby(), signal.SIGKILL)
    forking.until(lambda: not forking.family.ready)
    forking.fork()
    forking.standby()
    assert "could not be copied" not in forking.vm.console_text


def test_it_leaves_nothing(tmp_path: Path, floe_accel: str) -> None:
    gc.collect()  # what earlier tests left to be collected ends with its descriptors, now
    before = sorted(os.listdir("/proc/self/fd"))
    with planned(tmp_path, floe_accel) as vm:
        forking = Forking(vm)
        forking.fork()
        waiting = os.pidfd_open(forking.standby())
        assert sorted(os.listdir(tmp_path)) == ["disk.img", "forking.py"]
        assert vm.stop(grace_s=WAIT_S) == 1  # KeyboardInterrupt
    assert select.select([waiting], [], [], 0)[0]  # it was waited for
    os.close(waiting)
    assert forking.qemus() == set()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert sorted(os.listdir(tmp_path)) == ["disk.img", "forking.py"]


def test_it_does_not_outlive_floe(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from tests.tools.family.test_standby import Forking, planned
with planned(Path({str(tmp_path)!r})) as vm:
    forking = Forking(vm)
    forking.fork()
    print(vm.pid, forking.standby(), flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as floe:
        assert floe.stdout is not None
        qemus = [os.pidfd_open(int(pid)) for pid in floe.stdout.readline().split()]
        floe.kill()
    assert len(qemus) == 2
    for qemu in qemus:
        assert select.select([qemu], [], [], WAIT_S)[0]
        os.close(qemu)
