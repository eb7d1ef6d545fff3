# SPDX-License-Identifier: MIT
"""The program, and a VM of a family."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.c.family.guestline import Family
from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = [f"-I{ROOT}", f"-I{ROOT / 'modules/family'}"]
    return build(tmp_path_factory.mktemp("family"), "family_user", *folders, folder="family")


@pytest.fixture
def family(h: Harness) -> Iterator[Family]:
    yield Family(h)
