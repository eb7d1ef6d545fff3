# SPDX-License-Identifier: MIT
"""The KVM lab for the tests here: started once, with its records in build/, and ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.errors import UpstreamError, VmError
from floe.kvmlab import machine
from floe.kvmlab.lab import LAB
from floe.qemu import commandline
from tests.support.fixtures import REPO

STATE = REPO / "build" / "tests-kvm"
LIMIT_S = 420  # the first test may download, build and boot, on a busy machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More time than elsewhere for the tests here."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.limit(LIMIT_S))


@pytest.fixture(scope="session")
def started() -> Iterator[None]:
    """The lab was started. Skips where it cannot run at all; what it needs is downloaded once."""
    if shutil.which(commandline.find_qemu()) is None:
        pytest.skip(f"SKIP: {commandline.QEMU} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(STATE))
        machine.down(print)  # of a run that was killed
        try:
            machine.up(print)
        except UpstreamError as e:
            pytest.skip(f"SKIP: Debian's packages for the KVM lab cannot be had: {e.message}")
        except machine.LabFailed as e:
            if "nested paging" in e.message or "kvm-amd" in e.message:
                pytest.skip(f"SKIP: this QEMU does not emulate what KVM needs: {e.message}")
            raise
        try:
            yield
        finally:
            machine.down(print)


@pytest.fixture
def lab(started: None) -> None:
    """The lab is up and answers. QEMU's emulation of SVM halts for good once in a while, as under Xen."""
    try:
        machine.up(print)
        LAB.call(":", deadline_s=20)
    except VmError as e:
        print(f"the lab is started anew: {e.render()}")
        machine.down(print)
        machine.up(print)
