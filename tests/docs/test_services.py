# SPDX-License-Identifier: MIT
"""docs/services.md: every command is run as it stands."""

from __future__ import annotations

from pathlib import Path

from tests.docs.tutorial import KINDS, Shell, blocks, follow

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "docs" / "services.md"
COMMAND_S = 120.0


def test_the_page_is_run(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    found = blocks(PAGE.read_text())
    assert {block.kind for block in found} <= KINDS
    with Shell(folder, environment, COMMAND_S) as shell:
        for block in found:
            follow(block, folder, shell)
