# SPDX-License-Identifier: MIT
"""accelerators.py: what is marked runs once, on the accelerator that works, and all else on both."""

from __future__ import annotations

import pytest

from floe.errors import VmError
from tests.support import accelerators

TESTS = """
import pytest

@pytest.mark.any_accel
@pytest.mark.parametrize("accel", ["kvm", "tcg"])
@pytest.mark.parametrize("word", ["a", "b"])
def test_marked(accel, word): pass

@pytest.mark.any_accel
def test_of_none(): pass

@pytest.mark.parametrize("accel", ["kvm", "tcg"])
def test_other(accel): pass
"""
pytest_plugins = ["pytester"]


@pytest.mark.parametrize("works", [True, False])
def test_which_are_left(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, works: bool) -> None:
    def check() -> None:
        if not works:
            raise VmError("no KVM")

    monkeypatch.setattr(accelerators, "check_kvm", check)
    one = "kvm" if works else "tcg"
    pytester.makepyfile(TESTS)
    run = pytester.inline_run("--collect-only", plugins=[accelerators])
    names = [item.name for item in run.getcall("pytest_collection_finish").session.items]
    assert names == [
        f"test_marked[a-{one}]",
        f"test_marked[b-{one}]",
        "test_of_none",
        "test_other[kvm]",
        "test_other[tcg]",
    ]
