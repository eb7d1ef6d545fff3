# SPDX-License-Identifier: MIT
"""Fixtures of several files here: a running images/web."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from floe.testing import Boot
from tests.boot.webguest import BootWeb, Web, serve


@pytest.fixture
def boot_web(boot: Boot) -> Iterator[BootWeb]:
    """Boots images/web with an environment; the guest must be alive and silent at the test's end."""
    yield from serve(boot)


@pytest.fixture
def web(boot_web: BootWeb) -> Web:
    """Booted as it is."""
    return boot_web({})
