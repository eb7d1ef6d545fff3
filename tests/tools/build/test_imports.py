# SPDX-License-Identifier: MIT
"""floe.build.imports: what one source asks for."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floe.build.imports import Need, Source, scan


def read(text: str) -> Source:
    return scan(textwrap.dedent(text), "main.py")


def found(text: str) -> list[tuple[str, int, tuple[str, ...], Need]]:
    return [(i.name, i.level, i.names, i.need) for i in read(text).imports]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a", [("a", 0, (), Need.REQUIRED)]),
        ("import a.b.c as d, e", [("a.b.c", 0, (), Need.REQUIRED), ("e", 0, (), Need.REQUIRED)]),
        ("from a.b import c, d as e", [("a.b", 0, ("c", "d"), Need.REQUIRED)]),
        ("from . import a", [("", 1, ("a",), Need.REQUIRED)]),
        ("from ..p import *", [("p", 2, ("*",), Need.REQUIRED)]),
        ("def f():\n    import a", [("a", 0, (), Need.MAYBE)]),
        ("async def f():\n    import a", [("a", 0, (), Need.MAYBE)]),
        ("class C:\n    import a", [("a", 0, (), Need.REQUIRED)]),
        ("if x:\n    import a\nelse:\n    import b", [("a", 0, (), Need.MAYBE), ("b", 0, (), Need.MAYBE)]),
        ("if __name__ == '__main__':\n    import a", [("a", 0, (), Need.REQUIRED)]),
        ("if TYPE_CHECKING:\n    import a", []),
        ("with x:\n    import a", [("a", 0, (), Need.REQUIRED)]),
        ("__import__('a.b')", [("a.b", 0, (), Need.REQUIRED)]),
        ("try:\n    import a\nexcept ValueError:\n    pass", [("a", 0, (), Need.REQUIRED)]),
        ("try:\n    import a\nfinally:\n    import b", [("a", 0, (), Need.REQUIRED), ("b", 0, (), Need.REQUIRED)]),
    ],
)
def test_forms(text: str, expected: list[tuple[str, int, tuple[str, ...], Need]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize("caught", ["ImportError", "(KeyError, ImportError)", "Exception", ""])
def test_guarded(caught: str) -> None:
    source = read(f"try:\n    import a\nexcept {caught}:\n    import b\nelse:\n    import c")
    assert [(i.name, i.need, i.attempt, i.instead_of) for i in source.imports] == [
        ("a", Need.GUARDED, 1, 0),
        ("b", Need.REQUIRED, 0, 1),
        ("c", Need.REQUIRED, 0, 0),
    ]


def test_line_numbers() -> None:
    assert [i.line for i in read("x = 1\n\nimport a\nfrom b import (\n    c,\n)\n").imports] == [3, 4]


def test_computed() -> None:
    assert read("x = 1\n__import__(name)\n__import__('a', None, None, True, 1)\n").computed == [2, 3]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("eval('1')", ["eval"]),
        ("exec(x); compile(x, '', 'exec')", ["compile", "exec"]),
        ("f = eval", ["eval"]),
        ("re.compile('x')", []),
        ("from re import compile\ncompile('x')", []),
        ("def exec(x): pass\nexec(1)", []),
        ("def f(eval): return eval(1)", []),
        ("x.eval()", []),
    ],
)
def test_compiler(text: str, names: list[str]) -> None:
    assert read(text).compiler == names


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("@micropython.native\ndef f(): pass", True),
        ("@micropython.viper\ndef f(x: int) -> int: return x", True),
        ("@property\ndef f(): pass", False),
        ("def native(): pass", False),
    ],
)
def test_native(text: str, native: bool) -> None:
    assert read(text).native is native


def test_attributes_and_bare_names() -> None:
    source = read("import asyncio as aio\nimport os\naio.sleep(1)\nos.path.join\nprint(os)\n")
    assert ("asyncio", "sleep") in source.attributes
    assert ("path", "join") in source.attributes
    assert "asyncio" not in source.bare
    assert "os" in source.bare


def test_lazy_table() -> None:
    table = '_attrs = {"a": "one", "b": "two"}\n'
    assert read(table + "def __getattr__(name): pass").lazy == {"a": "one", "b": "two"}
    assert read(table).lazy == {}
    assert read("_attrs = make()\ndef __getattr__(name): pass").lazy == {}


@given(st.text(alphabet="import from as.,()abc \n:tryexcp=*'", max_size=120))
def test_any_text_is_read_or_is_a_syntax_error(text: str) -> None:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        with pytest.raises((SyntaxError, ValueError)):
            scan(text, "x.py")
        return
    expected = sum(
        len(n.names) if isinstance(n, ast.Import) else 1
        for n in ast.walk(tree)
        if isinstance(n, ast.Import | ast.ImportFrom)
    )
    assert len(scan(text, "x.py").imports) == expected
