# SPDX-License-Identifier: MIT
"""netfront and Linux' netback, a step of which comes between any two of the driver's requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import Harness


@pytest.fixture(scope="session")
def program(netfront: Path) -> Path:
    return netfront


@pytest.mark.parametrize("seed", range(0, 400, 50))
def test_they_find_each_other_again(h: Harness, seed: int) -> None:
    """Closed by an administrator, or unbound and bound, a dozen times in each life."""
    assert h.number("netback", seed, 50) == 0, h.log
