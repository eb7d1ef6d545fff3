# SPDX-License-Identifier: MIT
"""The lab for the tests here, a real Xen under emulation: started once, with its records in build/, and ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.errors import UpstreamError, VmError
from floe.qemu import commandline
from floe.testing import Boot
from floe.xenlab import lab as the_lab
from floe.xenlab import machine
from tests.support.fixtures import REPO

STATE = REPO / "build" / "tests-xen"
LIMIT_S = 840  # Xen under emulation, on a busy machine; pytest's own limit of a test comes after it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More time than elsewhere for the tests here."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.limit(LIMIT_S))


@pytest.fixture(scope="session")
def lab() -> Iterator[None]:
    """The lab is up. Skips where it cannot run at all; what it needs is downloaded once."""
    if shutil.which(commandline.QEMU) is None:
        pytest.skip(f"SKIP: {commandline.QEMU} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(STATE))
        machine.down(print)  # of a run that was killed
        try:
            machine.up(print)
        except UpstreamError as e:
            pytest.skip(f"SKIP: Debian's packages for the Xen lab cannot be had: {e.message}")
        except machine.LabFailed as e:
            if "cannot run guests" in e.message:
                pytest.skip(f"SKIP: this QEMU does not emulate what Xen needs: {e.message}")
            raise
        try:
            yield
        finally:
            machine.down(print)


@pytest.fixture(autouse=True)
def a_lab_that_answers(request: pytest.FixtureRequest) -> None:
    """A test begins with a dom0 that answers. QEMU's emulation of SVM halts for good once in a while (seen: Xen's idle loop in
    HLT with interrupts on, and none taken); the test in which it does fails, those behind it need not."""
    if "lab" not in request.fixturenames:
        return
    request.getfixturevalue("lab")
    try:
        the_lab.call(":", deadline_s=20)
    except VmError as e:
        print(f"the lab is started anew: {e.render()}")
        machine.down(print)
        machine.up(print)


@pytest.fixture
def boot(lab: None, tmp_path: Path) -> Iterator[Boot]:
    """As everywhere, but every VM is a Xen domain."""
    with Boot(apps=[REPO / "images"], folder=tmp_path) as boots:
        boots.defaults.update(hypervisor="xen", memory="32M")
        yield boots
