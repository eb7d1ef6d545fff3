# SPDX-License-Identifier: MIT
"""port/boot/place.c: which words of an image are moved, by lists as the linker writes them, and how far."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build

IMAGE, RING_0 = 0x10000000, 16
MIB2, GIB = 2 << 20, 1 << 30
MAX = (1 << 64) - 1


@pytest.fixture(scope="module")
def h(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    symbols = [f"-Wl,--defsym={name}={at:#x}" for name, at in (("link_monitor", IMAGE), ("link_data", IMAGE + RING_0))]
    flags = ["-no-pie", "-Wl,-Ttext-segment=0x40000000", *symbols, str(ROOT / "port/hal/cmdline.c")]
    with Harness(build(tmp_path_factory.mktemp("place"), "place", *flags)) as harness:
        yield harness


# ---- where to ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", [0, 1, 2, (1 << 25) - (1 << 18) - 1, (1 << 25) - (1 << 18), MAX, 0x123456789ABCDEF])
@pytest.mark.parametrize("line", ["", "floe.aslr=1", "floe.aslr=", "floe.aslr=00", "-- floe.aslr=0", "xfloe.aslr=0"])
def test_the_place_is_above_all_ram_and_below_64_tib(h: Harness, drawn: int, line: str) -> None:
    h.do("cmdline", *line.split())
    h.do("random", drawn)
    offset = int(h.do("place"), 16)
    assert offset % MIB2 == 0 and 512 * GIB <= offset < 64 * 1024 * GIB
    assert offset == 512 * GIB + drawn % ((1 << 25) - (1 << 18)) * MIB2


@pytest.mark.parametrize("line", ["floe.aslr=0", "ip=dhcp floe.aslr=0 -- x"])
def test_a_debugger_may_have_it_where_the_elf_says(h: Harness, line: str) -> None:
    h.do("cmdline", *line.split())
    h.do("random", 77)
    assert h.do("place") == "0"


# ---- what is moved ---------------------------------------------------------------------------------------


def relr(addresses: list[int]) -> bytes:
    """The list of these words, as the generic ABI's proposal for SHT_RELR has it."""
    words: list[int] = []
    at = 0
    left = sorted(addresses)
    while left:
        words.append(left[0])
        at = left.pop(0) + 8
        while left and left[0] < at + 63 * 8:
            bits = {(a - at) // 8 for a in left if a < at + 63 * 8}
            words.append(1 | sum(2 << bit for bit in bits))
            left = [a for a in left if a >= at + 63 * 8]
            at += 63 * 8
    return struct.pack(f"<{len(words)}Q", *words)


def moved(h: Harness, offset: int, words: list[int], image: list[int], appended: Sequence[int] = ()) -> list[int]:
    table = relr([IMAGE + 8 * i for i in words]).hex() or "-"
    besides = [struct.pack(f"<{len(appended) + 1}Q", *(IMAGE + 8 * i for i in appended), 0).hex()] if appended else []
    told = h.do("move", offset, table, struct.pack(f"<{len(image)}Q", *image).hex(), *besides)
    return list(struct.unpack(f"<{len(image)}Q", bytes.fromhex(told)))


@given(
    st.sets(st.integers(0, 700), max_size=120),
    st.integers(1 << 18, (1 << 25) - 1).map(lambda n: n * MIB2),
)
@settings(deadline=None, max_examples=200)
def test_what_is_listed_is_moved_once_and_nothing_else(h: Harness, words: set[int], offset: int) -> None:
    """But ring 0's own two words, which stay what they are."""
    image = [0x100000 + i for i in range(701)]
    expected = [value + (offset if i in words and i >= RING_0 // 8 else 0) for i, value in enumerate(image)]
    assert moved(h, offset, sorted(words), image) == expected


def test_what_was_appended_is_moved_too(h: Harness) -> None:
    """And what is 0 is no address."""
    image = [7, 7, 7, 0, 7, 7]
    assert moved(h, MIB2, [2, 3], image, [5]) == [7, 7, 7 + MIB2, 0, 7, 7 + MIB2]


@pytest.mark.parametrize("words", [[2], [2, 65], [2, 66], [5, 68, 69, 131, 132, 195], list(range(2, 300)), [2, 500]])
def test_borders_of_a_bitmap(h: Harness, words: list[int]) -> None:
    image = [7] * 600
    assert moved(h, MIB2, words, image) == [7 + (MIB2 if i in words else 0) for i in range(600)]
