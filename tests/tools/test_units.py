# SPDX-License-Identifier: MIT
"""floe.units, and that image.toml and the flags read sizes by it: one text is a size in all of them or in none; and
times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floe import units
from floe.build import config
from floe.errors import FloeError
from floe.spec import disks, vmspec


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0K", 0),
        ("3k", 3072),
        ("600K", 614400),
        (" 32M ", 32 << 20),
        ("1G", 1 << 30),
        ("4MiB", 4 << 20),
        ("4mb", 4 << 20),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert units.parse_size(text) == size
    assert units.parse_size(units.show_size(size), plain=True) == size


@given(st.text(alphabet="0123456789KMGTiIbB .-_+\u0663", max_size=8))
def test_any_text_is_a_size_or_a_size_error(text: str) -> None:
    try:
        assert units.parse_size(text, minimum=4096, multiple=512, suffixes="KMGT", plain=True) % 512 == 0
    except units.SizeError as e:
        assert e.problem in ("not a size", "less than 4K", "not a multiple of 512")
        assert not e.nearest or units.parse_size(e.nearest, minimum=4096, multiple=512, plain=True)


def of_file(text: str, folder: Path) -> int:
    (folder / "main.py").write_text("")
    (folder / "image.toml").write_text(f'memory = "{text}"\n')
    return config.load(folder).memory


def of_memory(text: str, folder: Path) -> int:
    return vmspec.parse_memory(text)


def of_disk(text: str, folder: Path) -> int:
    return disks.parse_disk(f"{folder}/d:size={text}").size


USERS = [of_file, of_memory, of_disk]
CASES = [
    ("33333333", "not a size"),
    ("5", "not a size"),
    ("", "not a size"),
    ("12B", "not a size"),
    ("1.5M", "not a size"),
    ("-1M", "not a size"),
    ("0x10K", "not a size"),
    ("\u0663M", "not a size"),
    ("32 apples", "not a size"),
    ("1K", "less than "),
    ("8MiB", 8 << 20),
    ("8mb", 8 << 20),
    ("2097152K", 2 << 30),
    ("99999G", 99999 << 30),
]


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.__name__)
@pytest.mark.parametrize(("text", "expected"), CASES, ids=[repr(text) for text, _ in CASES])
def test_one_grammar(user: Callable[[str, Path], int], text: str, expected: int | str, tmp_path: Path) -> None:
    if isinstance(expected, int):
        assert user(text, tmp_path) == expected
        return
    with pytest.raises(FloeError) as caught:
        user(text, tmp_path)
    assert expected in caught.value.message
    assert text in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30.0), ("500ms", 0.5), ("1.5m", 90.0), ("2h", 7200.0), ("7", 7.0), (" 3S ", 3.0)]
    + [(text, None) for text in ("", "s", "-1s", "1d", "1 2s", "1e3", "soon", "\u0663s", "1.s")],
)
def test_seconds(text: str, seconds: float | None) -> None:
    assert units.parse_seconds(text) == seconds
