# SPDX-License-Identifier: MIT
"""Each promise that the port alone keeps, on each accelerator: a guest tries to break it and does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.testing import Boot
from tests.support import promises


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return promises.build(tmp_path_factory.mktemp("promises"))


@pytest.mark.parametrize("name", promises.HERE)
def test_it_is_kept(boot: Boot, guest: Path, name: str) -> None:
    vm = boot(guest, deadline_s=30, args=(name,))
    code = vm.wait()
    assert promises.kept(name, vm.console_text, code), vm.console_text
