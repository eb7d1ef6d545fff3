# SPDX-License-Identifier: MIT
"""Fixtures of several files here: a running images/web, also as a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.boot import webproxy
from tests.boot.webguest import BootWeb, Web, serve


@pytest.fixture
def boot_web(boot: Boot) -> Iterator[BootWeb]:
    """Boots images/web with an environment; the guest must be alive and silent at the test's end."""
    yield from serve(boot)


@pytest.fixture
def boot_proxy(boot: Boot, tmp_path: Path) -> Iterator[webproxy.BootProxy]:
    """Boots images/web in front of upstreams; the guest must be alive and silent at the test's end, or have ended well."""
    yield from webproxy.serve(boot, tmp_path)


@pytest.fixture
def web(boot_web: BootWeb) -> Web:
    """Booted as it is."""
    return boot_web({})
