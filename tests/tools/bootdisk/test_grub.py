# SPDX-License-Identifier: MIT
"""GRUB's part of a boot disk: where its programs look for what follows, what is lacking, its configuration."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from floe.bootdisk import grub


def test_a_bios_finds_the_rest_where_it_was_put() -> None:
    assert struct.unpack_from("<Q", grub.boot_sector(2048), 0x5C) == (2048,)
    assert struct.unpack_from("<Q", grub.placed(bytes(1024), 2048), 0x1F4) == (2049,)


def test_what_is_lacking_has_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert grub.lacking() == []
    monkeypatch.setattr(grub, "_LIBRARY", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert grub.lacking() == ["grub-pc-bin", "grub-efi-amd64-bin", "grub-common"]


def test_each_word_of_the_line_is_quoted() -> None:
    text = grub.configuration('env.A=$x;y -- "" --z')
    assert "module2 /floe/app.elf 'env.A=$x;y' '--' '\"\"' '--z'\n" in text
    assert grub.configuration("").splitlines()[-2:] == ["module2 /floe/app.elf ", "boot"]
