# SPDX-License-Identifier: MIT
"""port/hal/cmdline.c: words before "--", values cut to their buffer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

ENOENT = -2


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("cmdline"), "cmdline")


@pytest.fixture(scope="module")
def h(program: Path) -> Iterator[Harness]:
    with Harness(program) as harness:
        yield harness


def values(h: Harness, line: str, key: str, size: int = 64) -> list[tuple[int, str]]:
    """(full length, what was copied) of each value."""
    h.do("set", line.encode().hex() or "-")
    *found, end = h.do("values", key, size).split("\n")
    assert end == f"end {ENOENT}"
    return [(int(n), bytes.fromhex(data).decode()) for n, data in (f.split(" ") for f in found)]


@pytest.mark.parametrize(
    ("line", "key", "found"),
    [
        ("", "ip", []),
        ("   ", "ip", []),
        ("ip=dhcp", "ip", ["dhcp"]),
        ("  ip=a   x=y ip=b  ", "ip", ["a", "b"]),
        ("ip= x=1", "ip", [""]),
        ("ip", "ip", []),
        ("ips=1 xip=2", "ip", []),
        ("ip=a=b=c", "ip", ["a=b=c"]),
        ("ip=1 -- ip=2", "ip", ["1"]),
        ("-- ip=2", "ip", []),
        ("ip=--", "ip", ["--"]),
        ("--x ip=1 --- ip=2", "ip", ["1", "2"]),  # only the bare word ends it
        ("virtio_mmio.device=512@0xfeb00e00:12 env.A=b", "virtio_mmio.device", ["512@0xfeb00e00:12"]),
    ],
)
def test_values(h: Harness, line: str, key: str, found: list[str]) -> None:
    assert values(h, line, key) == [(len(v), v) for v in found]


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 100])
def test_a_long_value_is_cut_and_its_length_told(h: Harness, size: int) -> None:
    assert values(h, "a=1 key=abcdef b=2", "key", size) == [(6, "abcdef"[: size - 1])]


def test_the_longest_line(h: Harness) -> None:
    line = "k=" + "v" * 4089 + " z=1"
    assert len(line) == 4095
    assert values(h, line, "z") == [(1, "1")]
    assert values(h, line, "k", 8) == [(4089, "v" * 7)]
    assert bytes.fromhex(h.do("get")).decode() == line


@given(st.lists(st.text("ab=-", min_size=1, max_size=6), max_size=12))
@settings(deadline=None)
def test_as_python_would(h: Harness, words: list[str]) -> None:
    options = words[: words.index("--")] if "--" in words else words
    expected = [w[2:] for w in options if w.startswith("a=")]
    assert values(h, " ".join(words), "a") == [(len(v), v) for v in expected]
