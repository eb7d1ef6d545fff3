# SPDX-License-Identifier: MIT
"""docs/hosts.md: every command is run as it stands, with namespaces of this machine as the two hosts."""

from __future__ import annotations

from pathlib import Path

from tests.docs.tutorial import KINDS, Shell, blocks, follow
from tests.support import libvirthosts

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "hosts.md").read_text()
COMMAND_S = 120.0


def test_the_page_is_run(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    found = blocks(PAGE)
    assert {block.kind for block in found} <= KINDS
    with libvirthosts.in_namespaces(tmp_path / "hosts", ("east.example", "west.example")) as hosts:
        environment["FLOE_SSH"] = hosts.environment["FLOE_SSH"]
        with Shell(folder, environment, COMMAND_S) as shell:
            for block in found:
                follow(block, folder, shell)
