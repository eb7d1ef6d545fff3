# SPDX-License-Identifier: MIT
"""The hard limits of style: lines of a file and of a function, parameters, #if per file; licence lines;
and what may not be committed at all."""

from __future__ import annotations

import ast
import re

import pytest

from tests.check.tree import REPO, matching, read, without_comments

C_FILES = matching(r"(port|modules|tests)/.*\.[ch]")
PY_FILES = matching(r"(tools|tests|frozen|images)/.*\.py")


def test_there_is_something_to_check() -> None:
    assert len(C_FILES) > 30
    assert len(PY_FILES) > 30


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        (600, C_FILES),
        (500, PY_FILES),
        (250, ["tools/floe/cli/main.py"]),
        (150, matching(r"port/(main|mphalport)\.[ch]")),
        (90, matching(r"[a-z].*/README\.md")),
    ],
    ids=["c", "python", "cli", "main", "readme"],
)
def test_lines_of_a_file(limit: int, names: list[str]) -> None:
    assert [f"{name}: {n}" for name in names if (n := len(read(name).splitlines())) > limit] == []


@pytest.mark.parametrize("name", matching(r"(port|modules|tests)/.*\.[chS]"))
def test_columns_of_c(name: str) -> None:
    lines = enumerate(read(name).splitlines(), 1)
    assert [f"{name}:{number}: {len(line)} columns" for number, line in lines if len(line) > 120] == []


def c_functions(text: str) -> list[tuple[str, int, int, int]]:
    """(name, line, lines, parameters) of each function body that starts and ends in the first column."""
    found = []
    lines = without_comments(text).splitlines()
    start = 0
    for number, line in enumerate(lines):
        if re.match(r"[A-Za-z_]", line) and ";" not in line.split("{")[0]:
            start = number
        if line.startswith("}") and lines[start : number + 1]:
            head = " ".join(lines[start : number + 1]).split("{")[0]
            match = re.search(r"(\w+)\s*\((.*)\)\s*(__attribute__.*)?$", head.strip())
            if match and "=" not in head and not head.startswith(("struct", "typedef", "enum", "union")):
                parameters = re.sub(r"\([^()]*\)", "", match[2])
                count = 0 if parameters.strip() in ("", "void") else parameters.count(",") + 1
                found.append((match[1], start + 1, number - start + 1, count))
    return found


def test_function_reader() -> None:
    text = "static int f(int a, void (*b)(int, int)) {\n    x = 1;\n}\nstruct s {\n    int a;\n};\nvoid g(void) {\n}\n"
    assert c_functions(text) == [("f", 1, 3, 2), ("g", 7, 2, 0)]


@pytest.mark.parametrize("name", [n for n in C_FILES if n.endswith(".c")])
def test_c_functions(name: str) -> None:
    found = c_functions(read(name))
    assert [f"{name}:{line}: {f} has {n} lines" for f, line, n, _ in found if n > 80] == []
    assert [f"{name}:{line}: {f} has {n} parameters" for f, line, _, n in found if n > 6] == []


@pytest.mark.parametrize("name", matching(r"(port|modules)/.*\.c"))
def test_conditional_compilation(name: str) -> None:
    assert len(re.findall(r"^\s*#\s*if", without_comments(read(name)), re.MULTILINE)) <= 3


@pytest.mark.parametrize("name", matching(r"tools/floe/.*\.py"))
def test_python_parameters(name: str) -> None:
    wrong = []
    for node in ast.walk(ast.parse(read(name))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            a = node.args
            names = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs) if p.arg not in ("self", "cls")]
            command = any("click" in ast.unparse(d) or "command" in ast.unparse(d) for d in node.decorator_list)
            if len(names) > 6 and not command:  # a verb has as many parameters as options
                wrong.append(f"{name}:{node.lineno}: {node.name} has {len(names)}")
    assert wrong == []


@pytest.mark.parametrize("name", matching(r"tools/floe/.*\.py"))
def test_no_sleep_in_the_host_tool(name: str) -> None:
    calls = [n for n in ast.walk(ast.parse(read(name))) if isinstance(n, ast.Attribute) and n.attr == "sleep"]
    assert [f"{name}:{n.lineno}" for n in calls] == []


@pytest.mark.parametrize("name", matching(r".*\.([chS]|py|ld|mk)", "Makefile"))
def test_licence_line_first(name: str) -> None:
    if "tests/errors/cases/" in name:
        return  # bad input on purpose: its first line is the command
    head = read(name).splitlines()[:2]
    assert any("SPDX-License-Identifier: MIT" in line for line in head), name


@pytest.mark.parametrize("name", matching(r"(port|modules)/.*\.c"))
def test_header_says_what_it_owns_and_where_it_runs(name: str) -> None:
    head = "\n".join(line for line in read(name).splitlines()[:12] if line.startswith("//"))
    assert re.search(r"\b[Oo]wns?\b", head), f"{name}: the header does not say what the file owns"
    assert "Context" in head, f"{name}: the header does not say in which context it runs"


def test_every_skip_has_its_reason() -> None:
    wrong = []
    for name in matching(r"(tests|tools)/.*\.py"):
        for number, line in enumerate(read(name).splitlines(), 1):
            if re.search(r"pytest\.skip\(|mark\.(skip|xfail)", line) and "SKIP: " not in line and "reason=" not in line:
                wrong.append(f"{name}:{number}")
    assert [w for w in wrong if not w.startswith("tests/check/")] == []


def test_nothing_of_this_machine_and_no_registry_is_named() -> None:
    hosts = re.compile(r"https?://[a-z0-9.-]*(debian|pypi|pythonhosted|npmjs)[a-z0-9.-]*/")
    place = re.compile(r"(^|[^a-zA-Z0-9_.])/(work|farm)/")
    wrong = []
    for name in matching(r".*"):
        for number, line in enumerate(read(name).splitlines(), 1):
            if hosts.search(line) or place.search(line):
                wrong.append(f"{name}:{number}: {line.strip()[:80]}")
    assert [w for w in wrong if not w.startswith("tests/check/")] == []


def test_nothing_large_is_committed() -> None:
    assert [n for n in matching(r".*") if (REPO / n).stat().st_size > 200_000] == []
