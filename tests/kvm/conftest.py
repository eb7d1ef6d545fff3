# SPDX-License-Identifier: MIT
"""The KVM lab for the tests here: started once, with its records in build/, and ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.kvmlab import machine
from floe.kvmlab.lab import LAB
from floe.qemu import commandline
from tests.support import labs
from tests.support.fixtures import REPO

STATE = REPO / "build" / "tests-kvm"
LIMIT_S = 420  # the first test may download, build and boot, on a busy machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    labs.give_time(items, Path(__file__).parent, LIMIT_S)


@pytest.fixture(scope="package")
def started() -> Iterator[None]:
    """The lab was started."""
    with labs.started(machine, "KVM", commandline.find_qemu(), STATE, ("nested paging", "kvm-amd")):
        yield


@pytest.fixture
def lab(started: None) -> None:
    """The lab is up and answers."""

    def ask() -> None:
        machine.up(print)
        LAB.call(":", deadline_s=20)

    labs.have_answer(machine, ask)
