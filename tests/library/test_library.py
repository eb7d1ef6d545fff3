# SPDX-License-Identifier: MIT
"""The library people import, in a VM beside CPython: every script of cases/ prints the same lines in both, but where
the table beside it says why not; and every row of docs/python.md says what is so. README.md has the form."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.library.table import ROWS
from tests.support.fixtures import REPO

HERE = Path(__file__).resolve().parent
CASES = {path.stem: path for path in sorted((HERE / "cases").glob("*.py"))}
MARK = "=== "


LINK = re.compile(r"\.\./tests/library/cases/(\w+)\.py")


def test_each_row_has_a_case_and_each_case_a_row() -> None:
    assert len(ROWS) >= 3
    linked = set()
    for row in ROWS:
        if row.state == "not there" and row.module:
            assert row.note, f"docs/python.md: {row.dotted}: what to use instead?"
            continue  # tried in the VM by test_names
        assert (REPO / "docs" / row.case).is_file(), f"docs/python.md: {row}: names no file that runs it"
        if found := LINK.fullmatch(row.case):
            linked.add(found[1])
            text = CASES[found[1]].read_text()
            assert [name for name in row.names if name not in text] == [], f"cases/{found[1]}.py runs them not"
        assert row.state == "works" or row.note, f"docs/python.md: {row.dotted}: how does it differ?"
    assert linked == set(CASES)


def differences(name: str) -> list[dict[str, str]]:
    """cases/NAME.toml: [[line]] with cpython, vm and why, each line one that both print but differently. since: the
    CPython which prints it first; an older one prints what the VM does."""
    path = HERE / "cases" / f"{name}.toml"
    lines = tomllib.loads(path.read_text())["line"] if path.exists() else []
    assert all(entry.keys() - {"since"} == {"cpython", "vm", "why"} and entry["why"] for entry in lines), path
    return lines


def by_cpython(name: str) -> list[str]:
    """What a case prints here, with the lines that differ on purpose as a VM has them."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-I", str(CASES[name])], cwd=folder,
            env={**os.environ, "TZ": "UTC"}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, f"{name}: {done.stderr}"
    said = done.stdout.splitlines()
    for entry in differences(name):
        if "since" in entry and entry["cpython"] not in said:
            assert entry["vm"] in said, f"cases/{name}.toml: CPython says neither line of {entry}"
            continue
        assert entry["cpython"] in said, f"cases/{name}.toml: CPython does not say {entry['cpython']!r}"
        said[said.index(entry["cpython"])] = entry["vm"]
    return said


def test_every_table_of_differences_has_a_case() -> None:
    assert {path.stem for path in (HERE / "cases").glob("*.toml")} <= set(CASES)


MAIN = f"""# SPDX-License-Identifier: MIT
import sys

import _board

_board._boot()  # files, on a RAM disk, as the folder that CPython is run in


def ended(name, error=None):
    if error is not None:
        print()
        sys.print_exception(error)
    print("{MARK}end " + name)


"""
CASE = f"""print("{MARK}NAME")
try:
    import case_NAME
    ended("NAME")
except BaseException as e:
    ended("NAME", e)
"""


def write_main(folder: Path) -> Path:
    """A script that imports each case in turn, and goes on with the next whatever happens."""
    for name, path in CASES.items():
        (folder / f"case_{name}.py").write_text(path.read_text())
    runs = "".join(CASE.replace("NAME", name) for name in CASES)
    (folder / "main.py").write_text(f'{MAIN}{runs}print("{MARK}done")\n')
    return folder / "main.py"


def test_cases_print_what_they_print_in_cpython(boot: Boot, tmp_path: Path) -> None:
    vm = boot(write_main(tmp_path), deadline_s=120, memory="64M")
    assert vm.wait() == 0
    text = vm.console_text.replace("\r\n", "\n")
    assert text.endswith(f"{MARK}done\n")
    wrong = {}
    for name in CASES:
        said = text.partition(f"{MARK}{name}\n")[2].partition(f"{MARK}end {name}\n")[0].splitlines()
        if said != (wanted := by_cpython(name)):
            wrong[name] = [pair for pair in _pairs(said, wanted) if pair[0] != pair[1]]
    assert wrong == {}, "what the VM says, what CPython says"


def _pairs(one: list[str], two: list[str]) -> list[tuple[str, str]]:
    length = max(len(one), len(two))
    return list(zip(one + ["(no line)"] * (length - len(one)), two + ["(no line)"] * (length - len(two)), strict=True))


def test_names(boot: Boot, tmp_path: Path) -> None:
    """What a row calls there is there, and the rest is not, as a script finds by importing it."""
    lines = []
    for row in ROWS:
        for dotted in row.dotted if row.module else []:
            module = row.module
            use = f"{module}.{dotted[len(module) + 1 :]}" if dotted != module else module
            lines += ["try:", f"    import {module}", f"    {use}", f'    print("there", "{dotted}")']
            lines += ["except (ImportError, AttributeError) as e:", f'    print(type(e).__name__, "{dotted}")']
    (tmp_path / "main.py").write_text("\n".join([*lines, 'print("the end")', ""]))
    vm = boot(tmp_path / "main.py", deadline_s=120, memory="64M")
    assert vm.wait() == 0
    said = vm.console_text.replace("\r\n", "\n").splitlines()
    assert said[-1] == "the end"
    for row in ROWS:
        for dotted in row.dotted if row.module else []:
            absent = "AttributeError" if row.names else "ImportError"
            assert f"{'there' if row.state != 'not there' else absent} {dotted}" in said


@pytest.mark.parametrize("name", sorted(CASES))
def test_cases_are_plain_scripts(name: str) -> None:
    """Nothing of MicroPython's own in them, and nothing that asks where they run: CPython runs the same lines."""
    assert not re.search(
        r"sys\.implementation|sys\.platform|^import u(?!rllib|uid)|micropython", CASES[name].read_text(), re.M
    )
