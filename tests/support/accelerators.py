# SPDX-License-Identifier: MIT
"""A pytest plugin: a test that is marked `any_accel` runs on one accelerator, the fastest that works here. Its promise is
the host tool's or a Python program's in the guest, and another test of the same image or device runs on each of them."""

from __future__ import annotations

import pytest

from floe.errors import VmError
from floe.qemu.accel import check_kvm

BOTH = {"kvm", "tcg"}


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker."""
    config.addinivalue_line("markers", "any_accel: runs on one accelerator only")


def fastest() -> str:
    try:
        check_kvm()
    except VmError:
        return "tcg"
    return "kvm"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for another accelerator; the summary counts it as deselected."""
    marked = [item for item in items if item.get_closest_marker("any_accel")]
    if marked:
        others = BOTH - {fastest()}
        left_out = [item for item in marked if _on(item) & others]
        config.hook.pytest_deselected(items=left_out)
        kept = set(items) - set(left_out)
        items[:] = [item for item in items if item in kept]


def _on(item: pytest.Item) -> set[str]:
    """The accelerator of a test that comes once for each."""
    callspec = getattr(item, "callspec", None)
    return {str(value) for value in callspec.params.values()} & BOTH if callspec else set()
