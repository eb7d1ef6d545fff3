# SPDX-License-Identifier: MIT
"""The guest of test_kept_promises.py can do what it tries: where a protection is switched off, it does, on each accelerator.

An edit whose text is no more there fails here: move it with the text (tests/support/promises.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.support import promises


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The guest without one protection, built once for both accelerators."""
    return cache(lambda name: promises.build(tmp_path_factory.mktemp(name), off=[name]))


@pytest.mark.parametrize("name", promises.HERE)
def test_it_is_broken_where_the_protection_is_off(boot: Boot, without: Callable[[str], Path], name: str) -> None:
    vm = boot(without(name), deadline_s=30, args=(name,))
    vm.wait()
    assert promises.broken(name, vm.console_text), vm.console_text
