# SPDX-License-Identifier: MIT
"""What goes with the fixtures of tests/conftest.py: the checkout's folder, types, and a guest that is run to its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from floe.testing import Boot, Guest

REPO = Path(__file__).resolve().parents[2]
SmallDisk = Callable[[str], AbstractContextManager[Path]]


def run_to_the_end(boot: Boot, guest: Path, what: str) -> Guest:
    """Boot a guest that is told what to do; it has ended well when this returns."""
    vm = boot(guest, deadline_s=60, args=(what,))
    assert vm.wait() == 0
    assert vm.console_text.endswith("the end\n")
    assert "PANIC" not in vm.console_text
    return vm
