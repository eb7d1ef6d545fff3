# SPDX-License-Identifier: MIT
"""A lab for the tests of a folder: started once, with its records in build/, and ended."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from floe.errors import UpstreamError, VmError


def give_time(items: list[pytest.Item], folder: Path, limit_s: int) -> None:
    """More time than elsewhere for the tests of a folder."""
    for item in items:
        if item.path.parent == folder:
            item.add_marker(pytest.mark.limit(limit_s))


@contextmanager
def started(machine: Any, name: str, qemu: str, state: Path, refusals: tuple[str, ...]) -> Iterator[None]:
    """The lab of floe.NAMElab.machine runs. Skips where it cannot run at all; what it needs is downloaded once.

    refusals: parts of what a lab says whose QEMU does not emulate what it takes."""
    if shutil.which(qemu) is None:
        pytest.skip(f"SKIP: {qemu} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        machine.down(print)  # of a run that was killed
        try:
            machine.up(print)
        except UpstreamError as e:
            pytest.skip(f"SKIP: Debian's packages for the {name} lab cannot be had: {e.message}")
        except machine.LabFailed as e:
            if any(word in e.message for word in refusals):
                pytest.skip(f"SKIP: this QEMU does not emulate what {name} needs: {e.message}")
            raise
        try:
            yield
        finally:
            machine.down(print)


def have_answer(machine: Any, ask: Callable[[], object]) -> None:
    """A test begins with a lab that answers. QEMU's emulation of SVM halts for good once in a while (seen: Xen's idle loop in
    HLT with interrupts on, and none taken); the test in which it does fails, those behind it need not."""
    try:
        ask()
    except VmError as e:
        print(f"the lab is started anew: {e.render()}")
        machine.down(print)
        machine.up(print)
