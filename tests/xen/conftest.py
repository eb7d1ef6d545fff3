# SPDX-License-Identifier: MIT
"""The lab for the tests here, a real Xen under emulation: started once, with its records in build/, and ended."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from floe.errors import FloeError
from floe.qemu import commandline
from floe.testing import Boot
from floe.xenlab import lab as the_lab
from floe.xenlab import machine
from tests.support import labs
from tests.support.fixtures import REPO
from tests.support.vms import Vms

STATE = REPO / "build" / "tests-xen"
STATES = """
xenstore-ls -f /local/domain | grep -E '/(state|hotplug-status|online|error) ='
dmesg | tail -n 5
xl list
ls -d /run/floe*/*
ps -o pid,args | grep -E '^ *[0-9]+ [^[]' | cut -c 1-160
"""
LIMIT_S = 840  # Xen under emulation, on a busy machine; pytest's own limit of a test comes after it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    labs.give_time(items, Path(__file__).parent, LIMIT_S)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with the states in XenStore and what runs in dom0, or with the news that the lab has halted: a
    guest's console tells neither."""
    report = yield
    if report.failed and item.path.parent == Path(__file__).parent and the_lab.is_up():
        try:
            said = the_lab.call(STATES)
        except FloeError as e:
            said = e.render()
        report.sections.append(("the lab", said))
    return report


@pytest.fixture(scope="package")
def lab() -> Iterator[None]:
    """The lab is up."""
    with labs.started(machine, "Xen", commandline.QEMU, STATE, ("cannot run guests",)):
        yield


@pytest.fixture(autouse=True)
def a_lab_that_answers(request: pytest.FixtureRequest) -> None:
    """A test begins with a dom0 that answers."""
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab")
        labs.have_answer(machine, lambda: the_lab.call(":", deadline_s=20))


@pytest.fixture
def boot(lab: None, tmp_path: Path) -> Iterator[Boot]:
    """As everywhere, but every VM is a Xen domain."""
    with Boot(apps=[REPO / "images"], folder=tmp_path) as boots:
        boots.defaults.update(hypervisor="xen", memory="32M")
        yield boots


@pytest.fixture
def vms(lab: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    home = os.environ["XDG_STATE_HOME"]
    with Vms(tmp_path, monkeypatch) as made:
        monkeypatch.setenv("XDG_STATE_HOME", home)  # the lab is found by it
        yield made
