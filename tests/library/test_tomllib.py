# SPDX-License-Identifier: MIT
"""frozen/lib/tomllib.py run by CPython: it reads and refuses what CPython's own tomllib does, on documents put together
from pieces and then damaged."""

from __future__ import annotations

import importlib.util
import tomllib
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fixtures import REPO

PIECES = [
    "a = 1", "a.b = 2", "a.c.d = 3", "[a]", "[a.b]", "[[a]]", "[[a.b]]", 'b = "x"', "c = 'y'", "d = [1, 2, 3,]",
    "d = [\n1,\n #c\n 2]", "e = {x = 1, y.z = 2}", "e = {}", "e = {x = 1,}", "f = 1.5", "f = 1e5", "f=1_000", "f=0x1F",
    "f=0o17", "f=0b1", "f = 01", "f = +1", "f = -0.0", "f = 1.", "f = .5", "f=inf", "f=-nan", "g = true", "g = True",
    "h = 1979-05-27", "h = 07:32:00", "h = 1979-05-27T07:32:00Z", "h = 1979-05-27 07:32:00.5", '"q x" = 1', "'q' . r = 2",
    'i = """\nab\\\n   c"""', "i = '''a\nb'''", 'i = """a"""""', 'i = "\\u00e9\\n\\t"', 'i = "\\x"', "# comment", "", "   ",
    'k = "a', "l = [1", "m = {a = 1", "=1", "x", "x =", "[x", "[x]]", "[ x . y ]", 'n = [[1],["a"],{b=1}]', "n = [{a=1},{b=2}]",
    "\tz = 1 # c", "z = 1 2", 'o = "\x01"', "p = 1__0", "p=1_", "p=_1", "p = 1e", "p=1e+1", "p = 0e1", "[a.b.c]\nd=1",
    "[[p]]\n[p.q]\n[[p]]\n[p.q]", "e.x = 5", "x = 1979-13-40", "a = 1\r\nb = 2\r\n", "\u00fc = 1", '"" = 1', "u = 1.5_5", "w = {\na=1}",
]  # fmt: skip


@pytest.fixture(scope="module")
def ours() -> ModuleType:
    spec = importlib.util.spec_from_file_location("frozen_tomllib", REPO / "frozen/lib/tomllib.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(module: Any, text: str) -> str:
    """What it reads, keys in order and floats by their digits; "refused"."""
    try:
        return shown(module.loads(text))
    except module.TOMLDecodeError:
        return "refused"


def shown(value: object) -> str:
    if isinstance(value, dict):
        return repr({key: shown(value[key]) for key in sorted(value)})
    return repr([shown(each) for each in value]) if isinstance(value, list) else repr(value)


@settings(deadline=None, max_examples=3000)
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("\n".join),
    st.none() | st.tuples(st.integers(0, 200), st.sampled_from("[]{}\"'=,.#\n 1a_\\"), st.integers(0, 1)),
)
def test_reads_what_cpython_reads(ours: ModuleType, text: str, damage: tuple[int, str, int] | None) -> None:
    if damage is not None:
        place, char, taken = damage
        place %= len(text) + 1
        text = text[:place] + char + text[place + taken :]
    assert read(ours, text) == read(tomllib, text)


def test_a_long_document(ours: ModuleType) -> None:
    """What was read is let go of; an error still says where it is."""
    table = '[[rule]]  # one\nname = "n\u00fc"\nnets = [  # some\n%s\n]\n\n# and\n\ntext = """\n%s"""\n'
    nets = ",\n".join(f'"10.0.{n}.0/24"' for n in range(200))
    text = table % (nets, "line\n" * 300) * 20
    assert shown(ours.loads(text)) == shown(tomllib.loads(text))
    for damaged in (text + "x", text + "y = [1,\n" + "2,\n" * 900 + "3", text.replace("line\n", "l\0ne\n", 7)):
        with pytest.raises(ours.TOMLDecodeError) as found:
            ours.loads(damaged)
        with pytest.raises(tomllib.TOMLDecodeError) as wanted:
            tomllib.loads(damaged)
        assert str(found.value).rsplit("(")[-1] == str(wanted.value).rsplit("(")[-1]
