# SPDX-License-Identifier: MIT
"""MicroPython's own test suite in a VM over its console: no failure, and what is not run stands in README.md."""

from __future__ import annotations

import fnmatch
import re
import shutil
from pathlib import Path

import pytest

from floe.errors import VmError
from floe.qemu import accel as accelerators
from floe.setup.pins import chosen_release
from tests.conftest import Boot, Guest
from tests.upstream import suite

HERE = Path(__file__).resolve().parent
DIRECTORIES = ("basics", "extmod", "float", "import", "io", "micropython", "misc", "stress", "unicode")
FEWER = ("basics", "float", "micropython")  # on a second accelerator
VMS = 2
DEADLINE_S = 600
TRIES = 4


def listed(section: str) -> dict[str, str]:
    """Pattern of names -> reason: the table under a heading of README.md, and under that heading for the chosen release."""
    readme = (HERE / "README.md").read_text()
    headings = (section, f"{section}: {chosen_release()}")
    text = "".join(readme.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] for heading in headings)
    rows = re.findall(r"^\| (`.*`) \| (.+) \|$", text, re.MULTILINE)
    return {pattern: reason for cell, reason in rows for pattern in re.findall(r"`([^`]+)`", cell)}


def matching(names: set[str], patterns: dict[str, str]) -> set[str]:
    return {name for name in names for pattern in patterns if fnmatch.fnmatch(name, pattern)}


def directories(accel: str) -> tuple[str, ...]:
    """All, on the faster accelerator that works here."""
    try:
        accelerators.check_kvm()
    except VmError:
        return DIRECTORIES
    return DIRECTORIES if accel == "kvm" else FEWER


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dev image with what the tests in import, io and unicode open and import."""
    folder = tmp_path_factory.mktemp("upstream")
    data = folder / "data"
    shutil.copytree(suite.TESTS / "import", data)
    for name in ("io", "unicode"):
        shutil.copytree(suite.TESTS / name / "data", data / "data", dirs_exist_ok=True)
    shutil.copy(HERE / "guest_upstream.py", folder / "main.py")
    (folder / "image.toml").write_text('name = "upstream"\nmain = "main.py"\ndata = "data"\n')
    return folder


def boot_device(boot: Boot, app: Path) -> Guest:
    vm = boot(app, deadline_s=60, dev=True)
    vm.expect_exact(">>> ")
    return vm


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
