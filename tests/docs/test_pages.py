# SPDX-License-Identifier: MIT
"""Pages of docs/ whose commands are run as they stand, each in an empty folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.tutorial import KINDS, Shell, blocks, follow

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMAND_S = 120.0
NEEDS = {"disks.md": ("mformat", "mtools is not installed")}  # page: a program, and what to say without it


@pytest.mark.parametrize("page", ["compose.md", "disks.md", "fork.md", "serve.md", "services.md"])
def test_the_page_is_run(page: str, tmp_path: Path, environment: dict[str, str]) -> None:
    program, missing = NEEDS.get(page, ("sh", ""))
    if shutil.which(program) is None:
        pytest.skip(f"SKIP: {missing}")
    folder = tmp_path / "w"
    folder.mkdir()
    found = blocks((DOCS / page).read_text())
    assert {block.kind for block in found} <= KINDS
    with Shell(folder, environment, COMMAND_S) as shell:
        for block in found:
            follow(block, folder, shell)
