# SPDX-License-Identifier: MIT
"""Two hosts for the tests of this folder, started once by each worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import libvirthosts
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtHosts]:
    with libvirthosts.in_namespaces(tmp_path_factory.mktemp("hosts"), (EAST, WEST)) as made:
        yield made


@pytest.fixture
def known(hosts: LibvirtHosts, monkeypatch: pytest.MonkeyPatch) -> LibvirtHosts:
    """The hosts, as this process's table has them."""
    for name, value in hosts.environment.items():
        monkeypatch.setenv(name, value)
    return hosts
