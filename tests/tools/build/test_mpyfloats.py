# SPDX-License-Identifier: MIT
"""tools/floe/build/mpyfloats.py: constants as bits, and all else as mpy-cross wrote it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from floe.build import bytecode, mpyfloats, port_archive

SOURCE = """
import name_of_a_module
X = 0.1, (0.30000000000000004, ("text", b"bytes", b"", 2.5j, None, ..., True)), 12345678901234567890, 1e999
def f(x: float = 1.5): return x * 5e-324
"""


@pytest.fixture
def mpy(tmp_path: Path) -> bytes:
    path = tmp_path / "main.py"
    path.write_text(SOURCE)
    return bytecode.compile_file(port_archive.load("sealed").mpy_cross, path, "main.py").read_bytes()


def test_floats_are_bits(mpy: bytes) -> None:
    exact = mpyfloats.exact(mpy)
    for value in (0.1, 0.30000000000000004, 2.5, float("inf"), 5e-324):
        assert b"x" + struct.pack(">d", value).hex().encode() in exact
    for kept in (b"text\0", b"bytes\0", b"12345678901234567890", b"name_of_a_module\0"):
        assert kept in exact
    assert exact.endswith(mpy[-32:])  # the code


def test_without_floats_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    path.write_text("def f(a, b=(1, 'x')):\n    return [a, b, 'y' * 300]\n")
    mpy = bytecode.compile_file(port_archive.load("sealed").mpy_cross, path, "main.py").read_bytes()
    assert mpyfloats.exact(mpy) == mpy


@pytest.mark.parametrize("size", [0, 1, 5, 20])
def test_what_is_cut_short_is_refused(mpy: bytes, size: int) -> None:
    with pytest.raises(ValueError, match=r"\.mpy file"):
        mpyfloats.exact(mpy[:size])
