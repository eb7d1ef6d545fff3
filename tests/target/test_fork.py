# SPDX-License-Identifier: MIT
"""fork() in a VM, and what POSIX has beside it: children, exit codes, signals, pipes, and that a copy is another machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from floe.testing import Boot, Guest

GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork.py"


def run(boot: Boot, what: str) -> Guest:
    vm = boot(GUEST, deadline_s=120, args=(what,))
    assert vm.wait() == 0
    assert "the end\n" in vm.console_text
    assert "PANIC" not in vm.console_text
    return vm


@pytest.mark.usefixtures("each_qemu")
def test_children(boot: Boot) -> None:
    text = run(boot, "twice").console_text
    assert "parent 1 11 ['b2', 'b1']\n" in text
    assert "] child 2 1 2 ['b2', 'b1', 'a1', 'a2']\n" in text
    assert "] grandchild 3 2\n" in text and "] grandchild ended 9\n" in text
    assert "\norphan True\n" in text
    assert "] ZeroDivisionError: divide by zero\n" in text


def test_pipes(boot: Boot) -> None:
    text = run(boot, "pipes").console_text
    assert "fits 65536\nechoed 300000\nmessages [100, 100, 100]\ndrawn 1400 different 1400\ntasks\ntimers\n" in text
    assert re.search("Traceback|floe: family", text) is None


def test_what_a_child_wrote_last_arrives(boot: Boot) -> None:
    vm = boot(GUEST.with_name("guest_fork_last.py"), deadline_s=240)
    assert vm.wait() == 0
    assert "\nwhole 50\n" in "\n" + vm.console_text
    assert "PANIC" not in vm.console_text


def test_pipes_and_children_in_a_loop(boot: Boot) -> None:
    vm = boot(GUEST.with_name("guest_fork_async.py"), deadline_s=240)
    assert vm.wait() == 0
    for line in ("echo", "ends", "looked True", "timers 1 6", "polls", "the end"):
        assert f"\n{line}\n" in "\n" + vm.console_text
    assert re.search("Traceback|PANIC|floe: family", vm.console_text) is None


def test_messages_of_random_sizes(boot: Boot) -> None:
    vm = boot(GUEST.with_name("guest_fork_messages.py"), deadline_s=300, args=("1500", "20"))
    assert vm.wait() == 0
    assert "through one 1500 more than" in vm.console_text
    assert "\nwith a child each 20\nthe end\n" in vm.console_text
    assert re.search("Traceback|PANIC|floe: family", vm.console_text) is None


# Its child heeds no SIGTERM.
DEAF = """
import os, signal, time, vm

def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("deaf")
    while True:
        time.sleep(1)

child = vm.spawn(deaf)
time.sleep(1)
os.kill(child, signal.SIGTERM)
print("ended", os.waitpid(child, 0) == (child, 1 << 8))
"""


def test_a_child_that_heeds_no_signal(boot: Boot, tmp_path: Path) -> None:
    """It is ended, and that is no success."""
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    vm = boot(script, deadline_s=120)
    assert vm.wait() == 0
    assert "] deaf\n" in vm.console_text and "\nended True\n" in "\n" + vm.console_text
