# SPDX-License-Identifier: MIT
"""The promises that processor and monitor keep, in a domain of Xen: a guest breaks none of them, and in one boot all of
them, in an image in which these protections are switched off."""

from __future__ import annotations

from pathlib import Path

from floe.testing import Boot
from tests.support import promises

BOOTS = [  # of each kind one, as a domain takes its time to be made
    ["write_text"],
    ["run_data"],
    ["read_monitor"],
    ["overflow_stack"],
    ["past_c_heap"],  # guard pages, where Xen says what is RAM
    ["past_heap"],
    ["past_devices"],
    ["high_port"],
    ["write_msr", "protect_outside", "hypercall", "lock_again"],
]


def test_they_are_kept(boot: Boot, tmp_path: Path) -> None:
    guest = promises.build(tmp_path)
    for names in BOOTS:
        vm = boot(guest, deadline_s=120, args=names)
        code = vm.wait()
        assert [name for name in names if not promises.kept(name, vm.console_text, code)] == [], vm.console_text


def test_they_are_broken_where_the_protections_are_off(boot: Boot, tmp_path: Path) -> None:
    vm = boot(promises.build(tmp_path, off=promises.OF_RING_0), deadline_s=120, args=promises.OF_RING_0)
    vm.wait()
    assert [name for name in promises.OF_RING_0 if not promises.broken(name, vm.console_text)] == [], vm.console_text
