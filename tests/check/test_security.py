# SPDX-License-Identifier: MIT
"""SECURITY.md: each promise names a file that is there, and a test that is there."""

from __future__ import annotations

import re

import pytest

from tests.check.tree import REPO, read

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in read("SECURITY.md").splitlines()
    if line.startswith("| ") and not line.startswith("| promise ")
]
TARGET = "tests/target/test_protection.py"  # of the tests that are named without their file


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_a_promise_has_a_file_and_a_test(row: list[str]) -> None:
    _, kept, tried = row
    assert quoted(kept) and quoted(tried)
    files = [*quoted(kept), *(name for name in quoted(tried) if "/" in name)]
    assert [name for name in files if not (REPO / name).exists()] == []
    tests = [name for name in quoted(tried) if "/" not in name]
    assert [name for name in tests if f"def {name}(" not in read(TARGET)] == []


def test_there_are_promises() -> None:
    assert len(ROWS) > 10
