# SPDX-License-Identifier: MIT
"""Clocks, waits and idling in a VM. Upper bounds are generous, for hosts with other work; lower ones are exact."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from pexpect import TIMEOUT

from floe.testing import Boot, Guest
from tests.support.fixtures import run_to_the_end

GUEST = Path(__file__).resolve().parent / "guests" / "guest_time.py"
LATE_US = 500_000
IDLE_S = 4.0


def run(boot: Boot, what: str) -> Guest:
    return run_to_the_end(boot, GUEST, what)


@pytest.mark.alone
@pytest.mark.parametrize(("what", "count"), [("sleeps", 12), ("long_sleep", 1), ("coroutines", 1)])
def test_a_wait_is_never_short_and_not_long(boot: Boot, what: str, count: int) -> None:
    before = time.monotonic()
    waits = re.findall(r"^slept (\d+) (\d+)$", run(boot, what).console_text, re.MULTILINE)
    outside_us = (time.monotonic() - before) * 1e6
    assert len(waits) == count
    for wanted, took in waits:
        assert int(wanted) <= int(took) <= int(wanted) + LATE_US
    # The guest's second is the host's: 1 % of a rate that was measured against a timer of the host's.
    assert sum(int(wanted) for wanted, _ in waits) * 0.99 <= outside_us


def test_clocks_go_forward(boot: Boot) -> None:
    text = run(boot, "forward").console_text
    assert "back" not in text
    assert "forward\n" in text


@pytest.mark.alone
def test_wall_clock_is_the_host_s(boot: Boot) -> None:
    before = time.time()
    text = run(boot, "wall").console_text
    after = time.time()
    seconds, milliseconds = (int(n) for n in re.findall(r"^wall (\d+)$", text, re.MULTILINE))
    assert before - 2 <= seconds <= after + 2
    assert before <= milliseconds / 1000 <= after + 2
    assert 1.0 <= milliseconds / 1000 - seconds <= 4.0  # two seconds apart, the first one rounded down
    match = re.search(r"^date (\d+) (\d+) (\d+)", text, re.MULTILINE)
    assert match is not None
    dates = {time.gmtime(t)[:3] for t in (before - 2, after + 2)}
    assert tuple(int(n) for n in match.groups()) in dates
    assert "same True\n" in text


def cpu_s(pid: int) -> float:
    """Processor time that a process and its threads have used (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("machine", ["microvm", "q35"])
@pytest.mark.parametrize("what", ["idle", "idle_asyncio"])
def test_an_idle_vm_uses_less_than_one_percent_of_a_core(boot: Boot, machine: str, what: str) -> None:
    vm = boot(GUEST, deadline_s=60, args=(what,), machine=machine)
    vm.expect_exact("idle\n")
    assert vm.expect_exact(["never", TIMEOUT], timeout=1.0) == 1  # what booting left to do is done
    shares = []
    for _ in range(3):  # other work on the host only ever adds: the least of them is the VM's own
        before = cpu_s(vm.pid)
        assert vm.expect_exact(["never", TIMEOUT], timeout=IDLE_S) == 1
        shares.append((cpu_s(vm.pid) - before) / IDLE_S)
        if shares[-1] < 0.01:
            break
    assert min(shares) < 0.01, shares
    vm.kill()
    assert "PANIC" not in vm.console_text
