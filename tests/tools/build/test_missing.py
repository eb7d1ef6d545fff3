# SPDX-License-Identifier: MIT
"""floe.build.missing: each feature is one that mpy-cross refuses, and is named with the line that it stands in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from floe.build import missing, port_archive

CASES = [
    ("x = 1\nmatch x:\n    case 1:\n        pass\n", 2, missing.MATCH),
    ("def f(a, /, b):\n    pass\n", 1, missing.POSITIONAL_ONLY),
    ("\nx = lambda a, /: a\n", 2, missing.POSITIONAL_ONLY),
    ("def f(\n    a,\n    /,\n    b,\n):\n    pass\n", 3, missing.POSITIONAL_ONLY),
    ("async def f():\n    return [x async for x in y]\n", 2, missing.ASYNC_COMPREHENSION),
    ("async def f():\n    x = [await y for z in w]\n", 2, missing.AWAIT_COMPREHENSION),
    ("try:\n    pass\nexcept* ValueError:\n    pass\n", 3, missing.EXCEPT_STAR),
    ("x = {**a}\n", 1, missing.DICT_UNPACKING),
    ("x = {\n    1: 2,\n    **a,\n}\n", 3, missing.DICT_UNPACKING),
    ("x = [*a, 1]\n", 1, missing.UNPACKING),
    ("x = *a, 1\n", 1, missing.UNPACKING),
    ("def f():\n    return *a, 1\n", 2, missing.UNPACKING),
    ("x = {*a}\n", 1, missing.UNPACKING),
    ("x = a[*b]\n", 1, missing.UNPACKING),
    ("for x in *a, *b:\n    pass\n", 1, missing.UNPACKING),
    ("x = a[b := 1]\n", 1, missing.WALRUS_INDEX),
    ("with (open('a') as b, open('c') as d):\n    pass\n", 1, missing.WITH_PARENTHESES),
    ("def g():\n    @a[0]\n    def f():\n        pass\n", 2, missing.DECORATOR),
    ("def g():\n    def f(a, /):\n        return {**a}\n", 2, missing.POSITIONAL_ONLY),
    ("match x:\n    case 1:\n        y = {**a}\n", 1, missing.MATCH),
]


@pytest.mark.parametrize(("text", "line", "feature"), CASES, ids=[repr(text) for text, *_ in CASES])
def test_feature(text: str, line: int, feature: tuple[str, str], tmp_path: Path) -> None:
    source = tmp_path / "app.py"
    source.write_text(text)
    argv = [str(port_archive.BUILD / "mpy-cross"), "-o", "/dev/null", str(source)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert f"line {line}" in done.stderr
    found = missing.find(text, line)
    assert found is not None
    assert (found.what, found.instead) == feature


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    nonlocal x\n",
        "a, *b = c\n",
        "f(*a, **b)\n",
        "with (a):\n    pass\n",
        "@a.b(c)\ndef f(): pass\n",
        "not a ( program",
    ],
)
def test_no_feature(text: str) -> None:
    assert [missing.find(text, line) for line in (1, 2)] == [None, None]
