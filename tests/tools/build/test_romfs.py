# SPDX-License-Identifier: MIT
"""floe.build.romfs against the format's description at the head of upstream's extmod/vfs_rom.c."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floe.build import romfs
from floe.errors import BuildError


def varuint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    while True:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def record(data: bytes, at: int) -> tuple[int, bytes, int]:
    kind, at = varuint(data, at)
    size, at = varuint(data, at)
    assert at + size <= len(data)
    return kind, data[at : at + size], at + size


def tree(data: bytes) -> dict[str, object]:
    """Directory records as dicts, files as bytes: kinds 4 (directory), 5 (file), 2 (verbatim data)."""
    out: dict[str, object] = {}
    at = 0
    while at < len(data):
        kind, payload, at = record(data, at)
        length, start = varuint(payload, 0)
        name, rest = payload[start : start + length].decode(), payload[start + length :]
        if kind == 4:
            out[name] = tree(rest)
        else:
            assert kind == 5
            inner, content, end = record(rest, 0)
            assert inner == 2
            assert end == len(rest)
            out[name] = content
    return out


def contents(image: bytes) -> dict[str, object]:
    kind, payload, end = record(image, 0)
    assert kind == 0x14A6B1
    assert image[:3] == b"\xd2\xcd\x31"
    assert end == len(image)
    assert len(image) % 2 == 0
    return tree(payload)


def write(folder: Path, files: dict[str, object]) -> None:
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        if isinstance(value, dict):
            write(folder / name, value)
        else:
            assert isinstance(value, bytes)
            (folder / name).write_bytes(value)


def test_known_answer(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hi")
    assert romfs.make(tmp_path).image == bytes.fromhex("d2cd310c050a05612e7478740202") + b"hi"


def test_listing_and_order(tmp_path: Path) -> None:
    write(tmp_path, {"b": b"22", "a": {"z": b"", "c": {"d": b"1"}}, "__pycache__": {"x": b"9"}})
    made = romfs.make(tmp_path)
    assert made.files == {"a/c/d": 1, "a/z": 0, "b": 2}
    assert contents(made.image) == {"a": {"c": {"d": b"1"}, "z": b""}, "b": b"22"}


NAMES = st.text(alphabet="abcXYZ019._-", min_size=1, max_size=9).filter(lambda n: n not in (".", ".."))
TREES = st.recursive(st.binary(max_size=300), lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(NAMES, TREES, max_size=5))
def test_any_tree_comes_back(tmp_path_factory: pytest.TempPathFactory, files: dict[str, object]) -> None:
    folder = tmp_path_factory.mktemp("data")
    write(folder, files)
    first = romfs.make(folder).image
    assert contents(first) == files
    assert romfs.make(folder).image == first


def test_large_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    (tmp_path / "big").write_bytes(content)
    assert contents(romfs.make(tmp_path).image) == {"big": content}


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/caf\u00e9").write_text("")
    with pytest.raises(BuildError, match="ASCII names only"):
        romfs.make(tmp_path / "data")
    (tmp_path / "data/caf\u00e9").unlink()
    (tmp_path / "data/link").symlink_to("/etc/hostname")
    with pytest.raises(BuildError, match="leaves the data folder"):
        romfs.make(tmp_path / "data")
    (tmp_path / "data/link").unlink()
    (tmp_path / "data/gone").symlink_to("nothing")
    with pytest.raises(BuildError, match="neither a file nor a folder"):
        romfs.make(tmp_path / "data")
