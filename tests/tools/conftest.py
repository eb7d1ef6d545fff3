# SPDX-License-Identifier: MIT
"""What the tests of floe's commands share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.vms import Vms


@pytest.fixture
def vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    """Detached VMs in a store of the test's own; none is left."""
    with Vms(tmp_path, monkeypatch) as all_of_them:
        yield all_of_them
