# SPDX-License-Identifier: MIT
"""tools/floe/vm/child.py against a real QEMU: a running guest goes on in two VMs, and what fails leaves the first."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from floe.errors import VmError
from floe.family.copies import PrivateDisks
from floe.spec.disks import Disk
from floe.spec.runoptions import RunOptions
from floe.vm import plan
from floe.vm.child import Child, spec_of_copy
from floe.vm.vm import Vm

WAIT_S = 30.0
OVER: dict[Child, list[int]] = {}  # what children's ends came to


APP = """
import time
n = 0
while True:
    print("n", n)
    n += 1
    time.sleep_ms(20)
"""


@pytest.fixture
def counting(tmp_path: Path, floe_accel: str) -> Iterator[Vm]:
    """A guest that counts, with a disk that it does not mount."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"all of it".ljust(1 << 16, b"\0"))
    app = tmp_path / "counting.py"
    app.write_text(APP)
    spec, _ = plan.plan(app, RunOptions(accel=floe_accel))
    with Vm(replace(spec, disks=(Disk(disk),), children=4)) as vm:
        vm.expect_exact("n 3\n", WAIT_S)
        yield vm


def child_of(vm: Vm) -> tuple[Child, PrivateDisks]:
    disks = PrivateDisks(vm.spec.disks)
    child = Child(spec_of_copy(vm.spec, "counting.1", disks), vm.loop, (), disks)
    OVER[child] = []
    child.on_over = OVER[child].append
    child.start()
    return child, disks


async def copied(vm: Vm, child: Child, disks: PrivateDisks) -> None:
    with await child.expect_copy() as sock:
        await vm.send_copy(sock, lambda: disks.fill(vm.spec.disks))
    await child.run_copy()


def bounded(vm: Vm, child: Child, disks: PrivateDisks) -> None:
    vm.loop.run_until_complete(asyncio.wait_for(copied(vm, child, disks), WAIT_S))


def ended(vm: Vm, child: Child, disks: PrivateDisks) -> list[int]:
    """End the child, and what waitpid() is to say."""
    child.end_at_once()
    vm.pump(lambda: bool(OVER[child]), WAIT_S)
    disks.close()
    return OVER.pop(child)


def goes_on(vm: Vm) -> None:
    """It goes on counting, and has left out nothing."""
    last = counted(vm)[-1] if counted(vm) else 0
    vm.loop.run_until_complete(asyncio.wait_for(_counts_to(vm, last + 2), WAIT_S))
    numbers = counted(vm)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def counted(vm: Vm) -> list[int]:
    return [int(number) for number in re.findall(r"^n (\d+)$", vm.console_text, re.M)]


async def _counts_to(vm: Vm, number: int) -> None:
    while not counted(vm) or counted(vm)[-1] < number:
        await asyncio.sleep(0.01)


def test_a_guest_goes_on_in_both_and_in_a_copy_of_the_copy(counting: Vm) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    child, disks = child_of(counting)
    assert child.spec.uuid != counting.spec.uuid
    bounded(counting, child, disks)
    own = Path(f"/dev/fd/{disks.fds[0]}").read_bytes()
    assert own == counting.spec.disks[0].path.read_bytes()
    goes_on(child)
    goes_on(counting)
    grandchild, its_disks = child_of(child)
    bounded(child, grandchild, its_disks)
    for vm in (grandchild, child, counting):
        goes_on(vm)
    assert ended(counting, grandchild, its_disks) == [signal.SIGKILL]
    assert ended(counting, child, disks) == [signal.SIGKILL]
    goes_on(counting)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert counting.outcome is None


@pytest.mark.parametrize("moment", ["before it waits", "while it waits"])
def test_a_child_whose_qemu_dies_leaves_its_original_as_it_was(counting: Vm, moment: str) -> None:
    child, disks = child_of(counting)

    async def fork() -> None:
        if moment == "while it waits":
            sock = await child.expect_copy()
            os.kill(child.pid, signal.SIGKILL)
            with sock:
                await counting.send_copy(sock, lambda: disks.fill(counting.spec.disks))
        else:
            os.kill(child.pid, signal.SIGKILL)
            await child.expect_copy()
        await child.run_copy()

    with pytest.raises(VmError):
        counting.loop.run_until_complete(asyncio.wait_for(fork(), WAIT_S))
    goes_on(counting)
    assert counting.outcome is None
    assert ended(counting, child, disks) == [signal.SIGKILL]


def test_a_disk_that_cannot_be_copied_leaves_the_original_as_it_was(counting: Vm) -> None:
    child, disks = child_of(counting)

    async def full() -> None:
        raise OSError(28, "No space left on device")

    async def fork() -> None:
        with await child.expect_copy() as sock:
            await counting.send_copy(sock, full)

    with pytest.raises(OSError, match="No space left"):
        counting.loop.run_until_complete(asyncio.wait_for(fork(), WAIT_S))
    goes_on(counting)
    assert ended(counting, child, disks) == [signal.SIGKILL]
