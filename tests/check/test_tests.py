# SPDX-License-Identifier: MIT
"""The house of the tests: who imports whom, names that stand once, and that the test of a module is found by its name."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import PurePosixPath

from tests.check.tree import files, matching, read

ELSEWHERE = "tests/tools/elsewhere.toml"
# Run inside VMs, or bad input on purpose: these import what a guest has.
GUESTS = re.compile(r".*/(guests|cases|packages)/.*|.*/guest_\w+\.py")


def modules() -> list[str]:
    """Files of the tests that run on the host."""
    return [name for name in matching(r"tests/.*\.py") if not GUESTS.fullmatch(name)]


def imported(text: str) -> set[str]:
    """Modules below tests, and names out of packages there, that a source imports: "tests.support.tiny"."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("tests.")}


def helpers() -> list[str]:
    own = re.compile(r"(test_\w+|conftest|__init__|__main__)\.py")
    return [name for name in modules() if not own.fullmatch(PurePosixPath(name).name)]


def test_no_test_imports_another_test() -> None:
    """What two of them need lies in tests/support, or beside them in a file that has no tests."""
    wrong = [
        f"{name}: {found}"
        for name in modules()
        for found in sorted(imported(read(name)))
        if re.search(r"\.(test_\w+|conftest)$", found) and f"{found.replace('.', '/')}.py" in files()
    ]
    assert wrong == []


def test_the_reader_sees_each_way_to_import() -> None:
    text = "import tests.a.test_b\nfrom tests.a import test_c\ndef f():\n    from tests.a.test_d import x\n"
    assert {"tests.a.test_b", "tests.a.test_c", "tests.a.test_d"} <= imported(text)


def test_helpers_have_a_name_each() -> None:
    names = [PurePosixPath(name).stem for name in helpers()]
    assert len(names) > 20
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_a_test_of_c_mirrors_its_folder() -> None:
    folders = {name.split("/")[2] for name in matching(r"tests/c/.*/test_\w+\.py")}
    assert all(matching(rf"(modules/{folder}|{folder})/.*\.c") for folder in folders), folders


def test_each_module_of_the_tool_has_a_test_that_is_found() -> None:
    elsewhere = tomllib.loads(read(ELSEWHERE))
    named = [module for listed in elsewhere.values() for module in listed]
    missing, needless = [], [f"{file} is not there" for file in elsewhere if file not in files()]
    tool = [
        name.removeprefix("tools/floe/").removesuffix(".py")
        for name in matching(r"tools/floe/([a-z]+/)?[a-z0-9_]+\.py")
        if not name.endswith("/__init__.py")
    ]
    for module in tool:
        folder, _, name = module.rpartition("/")
        mirror = f"tests/tools/{folder}/test_{name}.py".replace("//", "/")
        if mirror in files() and module in named:
            needless.append(f"{module}: {mirror} is there")
        elif mirror not in files() and named.count(module) != 1:
            missing.append(f"{module}: write {mirror}, or name it once in {ELSEWHERE}")
    assert len(tool) > 60
    assert missing == []
    assert needless + sorted(set(named) - set(tool)) == []


def test_the_readme_has_each_folder() -> None:
    named = set(re.findall(r"^\| `(\w+)/` \|", read("tests/README.md"), re.MULTILINE))
    assert named == {name.split("/")[1] for name in files() if re.match(r"tests/\w+/", name)}
