# SPDX-License-Identifier: MIT
"""frozen/lib/gateway/again.py: a file read again is in force, or the log says why not, and nothing has changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.gateway.frozen import Engine, frozen


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *words: object) -> None:
        self.lines.append("info " + text % words)

    def error(self, text: str, *words: object) -> None:
        self.lines.append("error " + text % words)


@pytest.fixture
def lib() -> Iterator[SimpleNamespace]:
    with frozen(Engine("192.0.2.1")) as lib:
        assert lib.gateway.reload
        sys.modules["gateway.again"].time = SimpleNamespace(  # type: ignore[attr-defined]  # of MicroPython
            ticks_ms=lambda: 5, ticks_diff=lambda a, b: a - b
        )
        yield lib


@pytest.fixture
def app(lib: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An appliance whose file is tmp_path/a.toml."""
    (tmp_path / "a.toml").write_text("size = 1\n")
    monkeypatch.setenv("CONFIG", str(tmp_path / "a.toml"))
    settings = lib.appliance.Settings("a", {"size": 0}, ("lan",))
    return SimpleNamespace(name="a", settings=settings, log=Log(), file=tmp_path / "a.toml")


def test_what_is_right_is_in_force(lib: SimpleNamespace, app: Any) -> None:
    app.file.write_text("size = 2\nlan = 3\n")
    used: list[Any] = []
    assert lib.gateway.reload(app, used.append)
    assert [each.size for each in used] == [2] and app.settings is used[0] and app.settings.tables == {"lan": 3}
    assert app.log.lines == ["info read again (0 ms)"]


def test_what_is_wrong_changes_nothing(lib: SimpleNamespace, app: Any) -> None:
    before, wrong = app.settings, lib.appliance.SettingsError("a.toml: lan: expected a table, [lan]")

    def refused(exc: Exception) -> Any:
        def use(settings: object) -> None:
            raise exc

        return use

    assert not lib.gateway.reload(app, refused(wrong)) and not lib.gateway.reload(
        app, refused(MemoryError("512 bytes"))
    )
    app.file.write_text("size = 'x'\n")
    assert not lib.gateway.reload(app, refused(AssertionError()))
    assert app.settings is before
    head = "error the configuration stays as it was: "
    assert app.log.lines == [
        f"{head}a.toml: lan: expected a table, [lan]",
        f"{head}MemoryError: 512 bytes",
        f"{head}{app.file}: size = 'x': expected a whole number",
    ]


def test_commands(lib: SimpleNamespace) -> None:
    found = lib.gateway.commands(reload=print)
    assert sorted(found) == ["counters", "flows", "reload", "routes", "rules"] and found["reload"] is print
