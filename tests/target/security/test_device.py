# SPDX-License-Identifier: MIT
"""What a device may be told to write: all memory, or, behind an IOMMU, data alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.testing import Boot
from tests.support import cguest

SOURCE = Path(__file__).with_name("device.c")
SAID = {"q35": "data overwritten\ntext overwritten\n", "q35-iommu": "data overwritten\ntext as it was\n"}


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cguest.build(SOURCE, tmp_path_factory.mktemp("device"))


@pytest.mark.parametrize("machine", SAID)
def test_a_device_that_is_set_up_by_hand(boot: Boot, guest: Path, machine: str) -> None:
    vm = boot(guest, deadline_s=30, machine=machine)
    assert vm.wait() == 0
    assert vm.console_text == SAID[machine]
