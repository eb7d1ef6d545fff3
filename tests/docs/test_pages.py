# SPDX-License-Identifier: MIT
"""Pages of docs/ whose commands are run as they stand, each in an empty folder."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.tutorial import KINDS, Shell, blocks, follow
from tests.support import sshhosts

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMAND_S = 120.0
NEEDS = {  # page: a program, and what to say without it
    "disk-images.md": ("grub-mkimage", "grub-common is not installed"),
    "disks.md": ("mformat", "mtools is not installed"),
}


PAGES = (
    "bench.md", "compose.md", "disk-images.md", "disks.md", "fork.md", "profile.md", "serve.md", "services.md",
    "signing.md", "snapshots.md",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_run(page: str, tmp_path: Path, environment: dict[str, str]) -> None:
    program, missing = NEEDS.get(page, ("sh", ""))
    if shutil.which(program) is None:
        pytest.skip(f"SKIP: {missing}")
    folder = tmp_path / "w"
    folder.mkdir()
    found = blocks((DOCS / page).read_text())
    assert {block.kind for block in found} <= KINDS
    with ExitStack() as stack:
        if page == "fork.md":
            hosts = stack.enter_context(sshhosts.by_proxy(tmp_path / "hosts"))
            for name in ("east.example", "west.example"):
                hosts.add(name)
            environment["FLOE_SSH"] = hosts.environment["FLOE_SSH"]
        shell = stack.enter_context(Shell(folder, environment, COMMAND_S))
        for block in found:
            follow(block, folder, shell)
