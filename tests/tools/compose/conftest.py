# SPDX-License-Identifier: MIT
"""Two hosts for the tests of stacks on several, anew for each: some of them die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import libvirthosts
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LibvirtHosts]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with libvirthosts.in_namespaces(tmp_path / "hosts", (EAST, WEST)) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made
