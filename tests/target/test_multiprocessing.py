# SPDX-License-Identifier: MIT
"""multiprocessing with VMs as processes: one script prints the same in CPython and in a VM; what a VM alone does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from floe.testing import Boot

GUEST = Path(__file__).resolve().parent / "guests" / "guest_multiprocessing.py"


def told(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").splitlines() if line.startswith("= ")]


def test_it_does_what_it_does_in_cpython(boot: Boot) -> None:
    command = [sys.executable, "-I", str(GUEST)]
    here = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert here.returncode == 0, here.stderr
    vm = boot(GUEST, deadline_s=240)
    assert vm.wait() == 0
    assert told(vm.console_text) == told(here.stdout)
    assert "= the end" in told(here.stdout)
    assert "PANIC" not in vm.console_text


def test_what_a_vm_alone_does(boot: Boot) -> None:
    vm = boot(GUEST.with_name("guest_processes.py"), deadline_s=240)
    assert vm.wait() == 0
    assert told(vm.console_text)[-1] == "= the script's end"
    assert "] joined at the end" in vm.console_text
    assert "never seen" not in vm.console_text
    assert "PANIC" not in vm.console_text


def test_a_pool_without_room_for_its_workers(boot: Boot) -> None:
    vm = boot(GUEST.with_name("guest_pool_room.py"), children=3, deadline_s=120)
    assert vm.wait() == 0, vm.console_text
    assert told(vm.console_text) == ["= the end"]
    assert "PANIC" not in vm.console_text
