# SPDX-License-Identifier: MIT
"""frozen/lib/appliance/settings.py run by CPython: what a file or a variable gives and no setting may be is one line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.fixtures import REPO


def load(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPO / "frozen/lib" / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "tomllib", load("frozen_tomllib", "tomllib.py"))
    return load("frozen_settings", "appliance/settings.py")


@pytest.fixture
def read(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings of a file with that text."""

    def settings(text: str) -> Any:
        file = tmp_path / "a.toml"
        file.write_text(text)
        monkeypatch.setenv("CONFIG", str(file))
        return module.Settings("a", {"room": module.Size(7), "wait": module.Seconds(7), "share": 0.5})

    return settings


@pytest.mark.parametrize(
    ("text", "room", "wait"),
    [
        ("", 7, 7),
        ("room = 0\nwait = 0", 0, 0),
        ('room = "64K"\nwait = "200ms"', 65536, 0.2),
        ("room = 1000000000000\nwait = 4294967295", 10**12, 2**32 - 1),
        ("wait = 0.25\nshare = -1", 7, 0.25),
    ],
)
def test_what_is_taken(read: Any, text: str, room: int, wait: float) -> None:
    found = read(text)
    assert (found.room, found.wait, type(found.wait) in (int, float)) == (room, wait, True)


@pytest.mark.parametrize(
    "number", ["-1", "-0.5", "inf", "-inf", "nan", "1e300", "100000000000000000", '"1e999"', '"-1s"']
)
@pytest.mark.parametrize("name", ["room", "wait"])
def test_numbers_without_bounds_are_refused(
    read: Any, module: Any, monkeypatch: pytest.MonkeyPatch, name: str, number: str
) -> None:
    with pytest.raises(module.SettingsError, match=f"a.toml: {name} ?=.*: expected a (size|time)"):
        read(f"{name} = {number}")
    monkeypatch.setenv(name.upper(), number.strip('"'))
    with pytest.raises(module.SettingsError, match=f"{name.upper()}=.*: expected a (size|time)"):
        read("")


@pytest.mark.parametrize(
    "text",
    [
        "room = " + "[" * 5000 + "]" * 5000,
        "room = " + "{a = " * 5000 + "1" + "}" * 5000,
        "a" + ".a" * 5000 + " = 1",
        "[a" + ".a" * 5000 + "]",
    ],
    ids=["arrays", "tables", "keys", "headers"],
)
def test_deep_nests_are_refused(read: Any, module: Any, text: str) -> None:
    with pytest.raises(module.SettingsError, match=r"a\.toml: maximum recursion depth exceeded"):
        read(text)


def test_an_array_of_tables_has_tables_alone(read: Any, module: Any) -> None:
    assert read("host = [{}, {a = 1}]").tables == {"host": [{}, {"a": 1}]}
    with pytest.raises(module.SettingsError, match=r"a\.toml: host is no setting; there are: room"):
        read("host = [{}, 1]")


def test_a_table_that_is_known_is_the_appliances_to_check(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes `host = 5` is not told that there is no such setting."""
    file = tmp_path / "a.toml"
    file.write_text("host = 5\nroute = []\n")
    monkeypatch.setenv("CONFIG", str(file))
    found = module.Settings("a", {}, ("host", "route"))
    assert found.tables == {"host": 5, "route": []} and found.known == ("host", "route")
