# SPDX-License-Identifier: MIT
"""The packet engine in a machine that is copied: both go on with the flows there are."""

from __future__ import annotations

from pathlib import Path

from floe.testing import Boot

GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork_packet.py"


def test_flows_in_a_copy(boot: Boot) -> None:
    vm = boot(GUEST, deadline_s=120)
    assert vm.wait() == 0
    assert "child True\n" in vm.console_text and "parent True\n" in vm.console_text
    assert "status 0\n" in vm.console_text
    assert "PANIC" not in vm.console_text
