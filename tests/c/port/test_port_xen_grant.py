# SPDX-License-Identifier: MIT
"""port/xen/grant.c: references of both versions of the table, pages in use by the other side, and a Xen that refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import Died, Harness
from tests.c.support.port_programs import build

PERMIT, READONLY = 1, 4
RESERVED = 8
NONE = ["xen: no grant table; no network card and no disk can be used"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("xen_grant"), "xen_grant")


@pytest.mark.parametrize(
    ("only", "word", "version"),
    [(3, "", 1), (1, "", 1), (2, "", 2), (3, "floe.xen.grants=2", 2), (3, "floe.xen.grants=1", 1)],
)
def test_a_page_is_granted_and_taken_back(h: Harness, only: int, word: str, version: int) -> None:
    h.do("only", only)
    if word:
        h.do("cmdline", word)
    per_frame = 512 if version == 1 else 256
    assert h.number("free") == 4 * per_frame - RESERVED
    ref = h.number("grant", 3, 0x12345, 1)
    assert ref >= RESERVED
    assert h.numbers("entry", ref) == [version, PERMIT | READONLY, 3, 0x12345]
    other = h.number("grant", 0, 0xFFFFF, 0)
    assert h.numbers("entry", other) == [version, PERMIT, 0, 0xFFFFF]
    h.do("use", ref, 1)
    assert h.number("end", ref) == 0
    entry = h.numbers("entry", ref)
    assert entry[1] & (PERMIT | READONLY) == PERMIT | READONLY
    assert entry[2:] == [3, 0x12345]
    h.do("use", ref, 0)
    assert h.number("end", ref) == 1
    assert h.numbers("entry", ref)[1] == 0
    assert h.number("free") == 4 * per_frame - RESERVED - 1
    assert h.log == []


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("frames", [1, 4, 64, 100])
def test_frames_are_added_until_xen_has_no_more(h: Harness, version: int, frames: int) -> None:
    h.do("only", version)
    h.do("frames", frames)
    used = min(frames, 64)
    per_frame = 512 if version == 1 else 256
    maps = used if version == 1 else used + (used + 7) // 8
    assert h.numbers("all") == [used * per_frame - RESERVED, maps]
    assert h.number("free") == 0
    assert h.number("end", 100) == 1
    assert h.number("grant", 0, 5, 0) == 100
    assert h.number("grant", 0, 5, 0) == 0


@pytest.mark.parametrize("command", [("only", 0), ("maps_left", 0), ("dma_left", 0)])
def test_no_table(h: Harness, command: tuple[str, int]) -> None:
    h.do(*command)
    assert h.number("grant", 0, 5, 0) == 0
    h.do(command[0], 3 if command[0] == "only" else 99)
    assert h.number("grant", 0, 5, 0) == 0  # it is not asked again
    assert h.number("free") == 0
    assert h.log == NONE


def test_a_size_that_xen_does_not_tell_is_one_frame(h: Harness) -> None:
    h.do("query", -1)
    assert h.numbers("all") == [512 - RESERVED, 1]


@pytest.mark.parametrize("knob", ["maps_left", "dma_left"])
def test_a_frame_that_cannot_be_added(h: Harness, knob: str) -> None:
    h.do("grant", 0, 5, 0)
    h.do(knob, 1)
    assert h.numbers("all") == [2 * 512 - RESERVED - 1, 2]


@pytest.mark.parametrize("ref", [0, 1, 7, 8, 511, 512, 1 << 20])
def test_the_end_of_what_is_not_granted_is_our_bug(h: Harness, ref: int) -> None:
    h.do("free")
    with pytest.raises(Died, match="PANIC assertion failed"):
        h.do("end", ref)


def test_random_grants(h: Harness) -> None:
    assert h.number("churn", 1, 60) == 0


@pytest.mark.parametrize(("version", "maps"), [(1, 3), (2, 4)])
def test_another_domain_has_an_empty_table(h: Harness, version: int, maps: int) -> None:
    """Of as many frames as before, whose references are all free."""
    h.do("only", version)
    per_frame = 512 if version == 1 else 256
    granted = [h.number("grant", 3, 5 + n, 0) for n in range(2 * per_frame + 1)]
    h.do("use", granted[0], 1)
    assert h.numbers("anew") == [version, maps]
    assert h.number("free") == 4 * per_frame - RESERVED
    assert h.numbers("entry", granted[0])[1] == 0
    again = [h.number("grant", 4, 7, 1) for n in range(2 * per_frame + 1)]
    assert (
        len(set(again)) == len(again)
        and min(again) == RESERVED
        and h.numbers("entry", again[0])[1:] == [PERMIT | READONLY, 4, 7]
    )
    assert h.number("end", again[0]) == 1


def test_another_domain_may_have_fewer_frames(h: Harness) -> None:
    for n in range(513):
        h.do("grant", 3, 5 + n, 0)
    h.do("maps_left", 1)
    h.do("anew")
    assert h.number("free") == 512 - RESERVED


def test_no_grant_no_table_in_another_domain_either(h: Harness) -> None:
    assert h.numbers("anew") == [0, 0]
    assert h.number("grant", 3, 5, 0) >= RESERVED
