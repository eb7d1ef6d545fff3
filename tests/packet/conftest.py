# SPDX-License-Identifier: MIT
"""One evaluator for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packet.ruleengine import Engine, build


@pytest.fixture(scope="session")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("rules"))


@pytest.fixture(scope="module")
def engine(evaluator: Path) -> Iterator[Engine]:
    with Engine(evaluator) as engine:
        yield engine
