# SPDX-License-Identifier: MIT
"""Fixtures: the program is built once a session, a process of it is started for each test. A module about another program
overrides `program` alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.c.support.harness import NET, Device, Harness, build
from tests.c.support.netcard import Card
from tests.c.support.xen_harness import build as build_xen
from tests.c.support.xendisk import build_blkfront

pytest.register_assert_rewrite("tests.c.support.diskcontract")  # its tests are run by the modules that inherit them


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("harness"))


@pytest.fixture(scope="session")
def blkfront_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_blkfront(tmp_path_factory.mktemp("blkfront"))


@pytest.fixture(scope="session")
def netfront(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Xen's network driver over the fake Xen (xen_net.c)."""
    parts = ("netfront", "netfront_rx", "netfront_tx", "netfront_xs", "xenbus", "xenring")
    sources = [f"modules/xen/{name}.c" for name in parts]
    folder = tmp_path_factory.mktemp("netfront")
    own = ("tests/c/support/net_user.c", "tests/c/xen/xen_netfuzz.c", "tests/c/xen/xen_netback.c")
    return build_xen(folder, "xen_net.c", *sources, "modules/netdev/netdev.c", *own)


@pytest.fixture
def h(program: Path) -> Iterator[Harness]:
    with Harness(program) as harness:
        yield harness


@pytest.fixture(params=["mmio", "pci"])
def bus(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def device(h: Harness, bus: str) -> Callable[[int], Device]:
    """Make a device of a type on the transport under test."""
    return lambda kind: Device(h, bus, kind)


@pytest.fixture
def card(h: Harness, device: Callable[[int], Device]) -> Card:
    return Card(h, device(NET))
