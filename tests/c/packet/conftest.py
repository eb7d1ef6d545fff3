# SPDX-License-Identifier: MIT
"""The engine's program, and that of its table of flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.c.packet.flowtable import Table, flow_harness
from tests.c.packet.packetwords import program
from tests.c.support.harness import Harness


@pytest.fixture(scope="session")
def engine_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("packet"))


@pytest.fixture(scope="module")
def h(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with flow_harness(tmp_path_factory) as harness:
        yield harness


@pytest.fixture
def table(h: Harness) -> Table:
    return Table(h)
