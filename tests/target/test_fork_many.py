# SPDX-License-Identifier: MIT
"""200 forks and ends in a row: nothing of the owner's grows, and nothing of the VM's. FLOE_FORKS=1000 for more."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import tracemalloc
from pathlib import Path

import pytest

from floe.testing import Boot, Guest

GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork_many.py"
FORKS = int(os.environ.get("FLOE_FORKS", "200"))
WARM = 40  # after so many all is there that is made once
USES = re.compile(r"forked (\d+) uses (\d+) (\d+)\n")  # one, as each is kept by whoever compiles it
# Bytes of Python's objects, over all that come then: what CPython keeps for the next object of a kind counts, too.
MAY_GROW = (48 << 10) + 100 * (FORKS - WARM)


async def _settled(vm: Guest) -> None:
    """Until the one that waits for the next fork is up, and no child is there."""
    assert vm.family is not None
    while vm.family.children or not vm.family.ready:
        await asyncio.sleep(0.01)


def owned(vm: Guest) -> tuple[int, int, int, int]:
    """Of this process: QEMUs, descriptors, tasks of the loop, bytes of Python's objects."""
    vm.loop.run_until_complete(asyncio.wait_for(_settled(vm), 60))
    gc.collect()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    descriptors = len(os.listdir("/proc/self/fd"))
    return len(children), descriptors, len(asyncio.all_tasks(vm.loop)), tracemalloc.get_traced_memory()[0]


def resident(pid: int) -> int:
    """KiB of a process; told, and judged by nobody: it hangs on when memory is given back."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


@pytest.mark.limit(3600)
def test_forks_and_ends_in_a_row_leave_nothing(boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    vm = boot(GUEST, deadline_s=3600, args=[str(FORKS)])
    assert vm.family is not None
    tracemalloc.start()
    seen, used = [], []
    try:
        for number in range(20, FORKS + 1, 20):
            vm.expect(USES)
            assert int(vm.match[1]) == number
            used.append((int(vm.match[2]), int(vm.match[3])))
            seen.append(owned(vm))
            vm.send(b"\n")
        print(seen, used, resident(os.getpid()), resident(vm.pid))
    finally:
        tracemalloc.stop()
    vm.expect_exact("ten at once")
    assert vm.wait() == 0
    first, *_ = later = seen[WARM // 20 - 1 :]
    assert {counts[:3] for counts in later} == {first[:3]}
    assert later[-1][3] - first[3] < MAY_GROW
    warm, *_, last = used[WARM // 20 - 1 :]
    assert last[0] - warm[0] < 1024 and last[1] == warm[1], used  # in the VM: Python's memory, and C's
    assert os.listdir(tmp_path) == []
    assert vm.family.children == []
