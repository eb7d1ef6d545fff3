# SPDX-License-Identifier: MIT
"""MicroPython's own test suite in a VM over its console: no failure, and what is not run stands in README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.errors import VmError
from floe.qemu import accel as accelerators
from floe.testing import Boot
from tests.upstream import suite
from tests.upstream.suite import app, boot_device, listed, matching

__all__ = ["app"]  # a fixture

DIRECTORIES = ("basics", "extmod", "float", "import", "io", "micropython", "misc", "stress", "unicode")
FEWER = ("basics", "float", "micropython")  # on a second accelerator
VMS = 2
DEADLINE_S = 600
TRIES = 4


def directories(accel: str) -> tuple[str, ...]:
    """All, on the faster accelerator that works here."""
    try:
        accelerators.check_kvm()
    except VmError:
        return DIRECTORIES
    return DIRECTORIES if accel == "kvm" else FEWER


@pytest.mark.parametrize("mode", suite.MODES)
def test_suite(boot: Boot, accel: str, mode: str, app: Path) -> None:
    names = suite.files(directories(accel))
    excluded = matching(set(names), listed("Not run") | ({} if mode == "bytecode" else listed("Not run as mpy")))
    names = [name for name in names if name not in excluded]
    result = suite.on_vms([boot_device(boot, app) for _ in range(VMS)], mode, names, DEADLINE_S)
    for _ in range(TRIES):
        again = sorted(matching(set(result.failed), listed("Timing")))
        result.replace(suite.on_vms([boot_device(boot, app)], mode, again, DEADLINE_S) if again else suite.Result())
    print(f"{mode} on {accel}: {len(result.passed)} passed, {len(result.failed)} failed, {len(result.skipped)} skipped")
    assert not result.failed and not result.complaints, result.report()
    unix = suite.on_unix(mode, suite.files(DIRECTORIES))
    missing = (unix.run & set(names)) - result.run
    assert missing - matching(missing, listed("Skips itself")) == set(), (
        "run by the unix port, skipped here, not in README.md"
    )
    assert result.run & matching(result.run, listed("Skips itself")) == set(), "in README.md as skipped, but it runs"


def test_what_runs_when_a_script_has_ended(boot: Boot) -> None:
    """As the script of an image: a raw REPL has no end of a script."""
    script = suite.TESTS / "misc" / "sys_atexit.py"
    vm = boot(script, deadline_s=20)
    assert vm.wait() == 0
    assert vm.console_text == Path(f"{script}.exp").read_text()


def test_every_line_of_the_readme_is_about_a_test() -> None:
    names = set(suite.files(DIRECTORIES))
    assert [
        p
        for s in ("Not run", "Not run as mpy", "Skips itself", "Timing")
        for p in listed(s)
        if not matching(names, {p: ""})
    ] == []


def test_a_failing_test_shows_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "basics_x.py.exp").write_text("1\n2\n")
    (tmp_path / "basics_x.py.out").write_text("1\n3\n")
    result = suite.Result()
    result.add("pass  basics/a.py \nFAIL  basics/x.py \nskip  basics/b.py\n", tmp_path)
    assert (result.passed, result.skipped, result.run) == (
        {"basics/a.py"},
        {"basics/b.py"},
        {"basics/a.py", "basics/x.py"},
    )
    assert "-2\n+3" in result.report()
