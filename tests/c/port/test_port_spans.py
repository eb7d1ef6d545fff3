# SPDX-License-Identifier: MIT
"""port/hal/spans.c, as a host reads it by its table: what goes on, what is over, what is within
another, and a ring that begins anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

WAIT, COLLECTION = 0, 1


@pytest.fixture
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(build(tmp_path_factory.mktemp("spans"), "spans")) as harness:
        yield harness


def table(h: Harness) -> tuple[int, list[tuple[int, int]]]:
    """How many are over, and the slots."""
    head, *lines = h.do("table").split("\n")
    size, count = map(int, head.split())
    assert size == len(lines)
    return count, [(int(line.split()[0]), int(line.split()[1])) for line in lines]


def test_a_span_is_there_while_it_goes_on_and_counts_once_it_is_over(harness: Harness) -> None:
    assert harness.do("begin", str(COLLECTION), "1000") == "1000"
    count, slots = table(harness)
    assert (count, slots[0]) == (0, (1000 << 1 | COLLECTION, 0))
    assert harness.do("end", "1500") == "1500"
    harness.do("begin", str(WAIT), "2000")
    count, slots = table(harness)
    assert (count, slots[:2]) == (1, [(1000 << 1 | COLLECTION, 1500), (2000 << 1 | WAIT, 0)])


def test_the_ring_begins_anew_and_the_count_goes_on(harness: Harness) -> None:
    _, slots = table(harness)
    number = len(slots) + 3
    for i in range(number):
        harness.do("begin", str(WAIT), str(10 * i + 1))
        harness.do("end", str(10 * i + 6))
    count, slots = table(harness)
    assert count == number
    newest = [(10 * i + 1 << 1, 10 * i + 6) for i in range(number - len(slots), number)]
    assert sorted(slots) == newest
    harness.do("begin", str(WAIT), "99999")
    _, slots = table(harness)
    assert slots[number % len(slots)] == (99999 << 1, 0), "what goes on has no end of the one before"


def test_a_collection_whose_finalisers_wait_is_on_both_sides_of_each_wait(harness: Harness) -> None:
    harness.do("begin", str(COLLECTION), "1000")
    harness.do("begin", str(WAIT), "1100")
    count, slots = table(harness)
    assert (count, slots[:2]) == (1, [(1000 << 1 | COLLECTION, 1100), (1100 << 1 | WAIT, 0)])
    harness.do("end", "1300")
    harness.do("begin", str(WAIT), "1400")
    harness.do("end", "1500")
    assert harness.do("end", "1600") == "1600"
    parts = [(COLLECTION, 1000, 1100), (WAIT, 1100, 1300), (COLLECTION, 1300, 1400), (WAIT, 1400, 1500)]
    parts.append((COLLECTION, 1500, 1600))
    count, slots = table(harness)
    assert count == len(parts)
    assert slots[: len(parts) + 1] == [*((begin << 1 | kind, end) for kind, begin, end in parts), (0, 0)]
    harness.do("begin", str(WAIT), "2000")
    harness.do("end", "2100")
    count, slots = table(harness)
    assert (count, slots[5]) == (6, (2000 << 1 | WAIT, 2100)), "nothing of the collection goes on"
