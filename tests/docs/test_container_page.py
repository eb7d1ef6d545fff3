# SPDX-License-Identifier: MIT
"""docs/containers.md, run as it stands, with a Podman of the test's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.tutorial import KINDS, Shell, blocks, follow
from tests.support.podman import podman

PAGE = Path(__file__).resolve().parents[2] / "docs" / "containers.md"
COMMAND_S = 120.0


def test_the_page_is_run(environment: dict[str, str]) -> None:
    if shutil.which("slirp4netns") is None:
        pytest.skip("SKIP: slirp4netns, which publishes ports, is not installed")
    found = blocks(PAGE.read_text())
    assert {block.kind for block in found} <= KINDS
    with podman(rootless=False) as engine:
        folder = engine.folder / "w"
        folder.mkdir()
        own = {key: value for key, value in engine.environment.items() if key != "PATH"}
        with Shell(folder, environment | own, COMMAND_S) as shell:
            for block in found:
                follow(block, folder, shell)
