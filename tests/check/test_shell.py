# SPDX-License-Identifier: MIT
"""Every shell script of the tree is one that a POSIX shell can read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.check.tree import REPO, matching, read

SCRIPTS = [
    name
    for name in matching(r"(tools|tests|images|port|\.ci)/.*")
    if name.endswith(".sh") or (not Path(name).suffix and re.match(r"#!.*\bsh\b", read(name)))
]


def faults(path: Path) -> str:
    return subprocess.run(["sh", "-n", str(path)], capture_output=True, text=True, timeout=10, check=False).stderr


def test_there_are_scripts() -> None:
    assert "tools/floe/xen/control.sh" in SCRIPTS
    assert "tools/floe/lab/inside/agent" in SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_shell_script_can_be_read(name: str) -> None:
    assert faults(REPO / name) == ""


def test_a_fault_is_found(tmp_path: Path) -> None:
    (tmp_path / "bad.sh").write_text("if true; then echo\n")
    assert "bad.sh" in faults(tmp_path / "bad.sh")
