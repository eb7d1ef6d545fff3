# SPDX-License-Identifier: MIT
"""The promises that processor and monitor keep, under ordinary KVM: a guest breaks none of them (test_kvm.py has those of
other kinds of page), and in one boot all of them, in an image in which these protections are switched off."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.vm.outcome import judge
from tests.kvm import inner
from tests.support import promises

BOOTS = [["write_executable"], ["run_writable"], ["high_port"], ["write_msr", "protect_outside", "lock_again"]]
ALL = [name for name in promises.OF_RING_0 if name in promises.HERE]

pytestmark = pytest.mark.usefixtures("lab")


def test_they_are_kept(tmp_path: Path) -> None:
    guest = promises.build(tmp_path)
    for names in BOOTS:
        ended = inner.run(guest, *names)
        code = judge(ended.status, "").code
        assert [name for name in names if not promises.kept(name, ended.text, code)] == [], ended


def test_they_are_broken_where_the_protections_are_off(tmp_path: Path) -> None:
    ended = inner.run(promises.build(tmp_path, off=ALL), *ALL)
    assert [name for name in ALL if not promises.broken(name, ended.text)] == [], ended
