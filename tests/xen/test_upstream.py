# SPDX-License-Identifier: MIT
"""MicroPython's own tests over the Xen console: the same files, runner and exceptions as in ../upstream."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.testing import Boot
from tests.upstream import suite
from tests.upstream.suite import app, boot_device, listed, matching

__all__ = ["app"]  # a fixture

DIRECTORIES = ("basics", "extmod")
DEADLINE_S = 900
TRIES = 4
# Under emulation all guests and dom0 share one processor: what else compares times is as in README.md's "Timing".
SHARED = {"extmod/asyncio_*.py": ""}
VMS = 2  # one works while the other's console is on its way


def test_basics_and_extmod(boot: Boot, app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = suite.files(DIRECTORIES)
    excluded = matching(set(names), listed("Not run"))
    names = [name for name in names if name not in excluded]
    result = suite.on_vms([boot_device(boot, app) for _ in range(VMS)], "bytecode", names, DEADLINE_S)
    for _ in range(TRIES):
        again = sorted(matching(set(result.failed), listed("Timing") | SHARED))
        result.replace(
            suite.on_vms([boot_device(boot, app)], "bytecode", again, DEADLINE_S) if again else suite.Result()
        )
    with capsys.disabled():
        print(f"\nbytecode under Xen: {len(result.passed)} passed, {len(result.skipped)} skipped", end=" ")
    assert not result.failed and not result.complaints, result.report()
    assert len(result.passed) > 500
