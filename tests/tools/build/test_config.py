# SPDX-License-Identifier: MIT
"""floe.build.config: image.toml read, checked, and blamed by line. Error texts: tests/errors."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floe.build.config import ImageConfig, Package, load
from floe.errors import ConfigError
from floe.tomlfile import line_of

FULL = """
name = "shop"
version = "1.2"
description = "sells"
main = "src/app.py"
memory = "8M"
profile = "dev"
ports = ["8080:80", "127.0.0.1:2222:22", "5353:53/udp"]
args = ["-v", "x y"]
imports = ["plug"]
data = "site"
allow = ["api.example.com:443", "192.0.2.1:53/udp"]

[env]
MODE = "fast"

[packages]
microdot = "==2.7.0"
other = { version = "1.0", sha256 = "%s" }

[budget]
elf = "600K"
""" % ("a" * 64)


def image(folder: Path, text: str) -> ImageConfig:
    (folder / "image.toml").write_text(text)
    (folder / "main.py").write_text("")
    return load(folder)


def test_everything(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text("")
    (tmp_path / "site").mkdir()
    c = image(tmp_path, FULL)
    assert (c.name, c.version, c.profile, c.memory, c.budget_elf) == (
        "shop",
        "1.2",
        "dev",
        8 << 20,
        600 << 10,
    )
    assert c.main == tmp_path / "src/app.py"
    assert c.data == tmp_path / "site"
    assert c.ports == ("8080:80", "127.0.0.1:2222:22", "5353:53/udp")
    assert c.allow == ("api.example.com:443", "192.0.2.1:53/udp")
    assert c.env == {"MODE": "fast"}
    assert c.args == ("-v", "x y")
    assert c.packages == {
        "microdot": Package("2.7.0"),
        "other": Package("1.0", "a" * 64),
    }


def test_defaults(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    c = image(folder, "")
    assert (c.name, c.version, c.profile, c.memory, c.data, c.budget_elf) == (
        "tiny",
        "0",
        "sealed",
        32 << 20,
        None,
        0,
    )
    (folder / "data").mkdir()
    assert load(folder).data == folder / "data"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ('["a.example"]', "image.toml:1: allow: a.example: a port is missing"),
        ('["none", "a.example:1"]', "image.toml:1: allow: none does not go with another --allow"),
    ],
)
def test_what_may_be_reached_is_checked(tmp_path: Path, words: str, problem: str) -> None:
    with pytest.raises(ConfigError) as e:
        image(tmp_path, f"allow = {words}\n")
    assert e.value.message.endswith(problem)
    assert e.value.hint.startswith("allow = [")


@pytest.mark.parametrize("key", ["disks", "fork"])
def test_parts_that_nothing_imports(tmp_path: Path, key: str) -> None:
    assert getattr(image(tmp_path, f"{key} = true\n"), key) is True
    assert getattr(image(tmp_path, ""), key) is False


def test_bare_script(tmp_path: Path) -> None:
    script = tmp_path / "my app.py"
    script.write_text("")
    (tmp_path / "data").mkdir()
    c = load(script)
    assert (c.name, c.main, c.data, c.file) == ("my-app", script, None, None)


def test_script_of_an_image_is_that_image(tmp_path: Path) -> None:
    image(tmp_path, 'name = "shop"\nmemory = "4M"')
    assert load(tmp_path / "main.py").memory == 4 << 20
    (tmp_path / "other.py").write_text("")
    assert load(tmp_path / "other.py").name == "other"


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("name", 2),
        ("ports", 8),
        ("env.MODE", 15),
        ("packages.other.sha256", 19),
        ("budget.elf", 22),
        ("budget", 21),
        ("no", None),
    ],
)
def test_line_of(key: str, line: int | None) -> None:
    assert line_of(FULL, key) == line


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "name",
                "main",
                "memory",
                "ports",
                "env",
                "args",
                "packages",
                "budget",
                "data",
                "profile",
                "x",
            ]
        ),
        st.recursive(
            st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "../x", "32M", "1:2", "main.py"]),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["elf", "a"]), inner, max_size=2)
            ),
            max_leaves=4,
        ),
        max_size=4,
    )
)
def test_any_toml_is_an_image_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, object]
) -> None:
    def toml(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(toml, value)) + "]"
        return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)

    text = "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
    assert tomllib.loads(text) == table
    folder = tmp_path_factory.mktemp("any")
    try:
        assert image(folder, text).memory >= 0
    except ConfigError as e:
        assert e.message.startswith(f"{folder}/image.toml")
        assert len(e.message) > len(f"{folder}/image.toml: ")


def test_a_number_longer_than_python_reads(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"image\.toml: a number has too many digits"):
        image(tmp_path, f"memory = {'9' * 5000}\n")
