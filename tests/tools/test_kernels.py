# SPDX-License-Identifier: MIT
"""tools/floe/build/kernels.py: which ready kernel an application is joined to."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.build import config, contents, kernels
from floe.errors import BuildError


def index() -> kernels.Index:
    return kernels.index(lambda text: None)


def chosen(folder: Path, text: str, profile: str = "sealed") -> contents.Contents:
    script = folder / "main.py"
    script.write_text(text)
    return contents.choose(config.load(script), profile, lambda text: None)


@pytest.mark.parametrize(
    ("text", "profile", "name"),
    [
        ("import json, re, time", "sealed", "console"),
        ("import vfs", "sealed", "console-disk"),
        ("import framebuf", "sealed", "console-disk"),
        ("import socket", "sealed", "network"),
        ("import socket, vfs", "sealed", "network-disk"),
        ("import ssl", "sealed", "tls"),
        ("import ssl, vfs", "sealed", "tls-disk"),
        ("eval('1')", "sealed", "compiler"),
        ("", "dev", "dev"),
    ],
)
def test_the_one_that_holds_least_beside_it(tmp_path: Path, text: str, profile: str, name: str) -> None:
    entry = kernels.choose(chosen(tmp_path, text, profile), lambda text: None)
    assert entry.name == name
    assert entry.path.stat().st_size == entry.bytes


def test_what_no_kernel_holds_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = kernels.Index("", [entry for entry in index().kernels if entry.name == "console"])
    monkeypatch.setattr(kernels, "index", lambda say: few)
    with pytest.raises(BuildError, match="no ready kernel holds network, socket") as e:
        kernels.choose(chosen(tmp_path, "import socket"), lambda text: None)
    assert "--linked" in e.value.hint


@pytest.mark.parametrize("content", [b"", b"{}", b'{"made_from": "x", "kernels": [{"name": "console"}]}'])
def test_an_index_that_is_none_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(kernels, "READY", tmp_path)
    monkeypatch.setattr(kernels, "_KINDS", kernels._KINDS[:1])
    (tmp_path / kernels.INDEX).write_bytes(content)
    said: list[str] = []
    made = kernels.index(said.append)
    assert [entry.name for entry in made.kernels] == ["console"]
    assert len(said) == 1
    assert kernels.index(said.append) == made
    (tmp_path / "console.elf").unlink()
    kernels.index(said.append)
    assert len(said) == 2
