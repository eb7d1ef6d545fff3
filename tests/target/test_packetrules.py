# SPDX-License-Identifier: MIT
"""The rule language in a VM: byte for byte the programs that CPython makes, the same errors, and the engine takes them."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from types import ModuleType

import pytest

from floe.testing import Boot
from tests.packet.language import rules

GUEST = Path(__file__).resolve().parent / "guests" / "guest_packetrules.py"
IN_A_VM = [
    *["refused not a valid program"] * 3,
    "[('new', (0, 0)), ('old', (0, 0))] [] 0",
    "changed not '192.0.2.1/24' has bits behind its prefix; right is '192.0.2.0/24'",
    "3",
    "{}",
]


def by_cpython(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    packet = ModuleType("packet")
    vars(packet).update({name: value for name, value in vars(rules).items() if not name.startswith("__")})
    monkeypatch.setitem(sys.modules, "packet", packet)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(GUEST.read_text(), str(GUEST), "exec"), {})
    return out.getvalue().splitlines()


@pytest.mark.any_accel
def test_a_vm_compiles_what_cpython_compiles(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = by_cpython(monkeypatch)
    assert len([line for line in wanted if line.startswith("program ")]) == 3
    vm = boot(GUEST, deadline_s=60)
    assert vm.wait() == 0
    assert vm.console_text.splitlines() == [*wanted[:-1], *IN_A_VM, "the end"]
