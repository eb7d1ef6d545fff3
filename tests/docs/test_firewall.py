# SPDX-License-Identifier: MIT
"""docs/firewall.md: its Python is run from top to bottom, and prints, or raises, what stands below it."""

from __future__ import annotations

import contextlib
import io
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.docs.tutorial import blocks
from tests.packet.language import rules
from tests.support.fixtures import REPO

PAGE = (REPO / "docs" / "firewall.md").read_text()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a script sees: `packet` with the language."""
    packet = ModuleType("packet")
    vars(packet).update({name: value for name, value in vars(rules).items() if not name.startswith("__")})
    monkeypatch.setitem(sys.modules, "packet", packet)
    return {}


def done(code: str, names: dict[str, Any]) -> str:
    """What code prints, with what it raises at the end."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(code, names)
        except ValueError as e:
            print(f"{type(e).__name__}: {e}")
    return out.getvalue()


def test_the_page(names: dict[str, Any]) -> None:
    found = blocks(PAGE)
    assert {block.kind for block in found} == {"python", "text"}
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.kind == "python":
            wanted = following.lines if following is not None and following.kind == "text" else []
            assert done("\n".join(block.lines), names).splitlines() == wanted, block.line
    program = names["rules"].compile()
    assert [named.name for named, _, _ in program.named] == ["blocked"]


def test_the_page_has_every_word() -> None:
    from tests.packet.language import part

    for word in part("conditions").WORDS:
        assert f"`{word}`" in PAGE, word
    for word in (*part("compiler").ENDS, "log", "count", "mark", "limit"):
        assert f"`{word}" in PAGE, word
    for word in part("compiler").REJECTS:
        assert f"`{word}`" in PAGE, word
