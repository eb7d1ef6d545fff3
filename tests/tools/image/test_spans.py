# SPDX-License-Identifier: MIT
"""spans.py on a memory made here: each span once, none that is torn, and what was too fast is counted."""

from __future__ import annotations

import struct

import pytest

from floe.image.spans import COLLECTION, WAIT, Reader, Span
from floe.image.vitals import Table
from tests.tools.image.memory import BASE, Memory

SIZE = 8
COUNT = BASE + 0x100
RING = BASE + 0x200
TABLE = Table(BASE, struct.pack("<3Q", RING, COUNT, SIZE))


class Guest:
    """Writes as port/hal/spans.c does."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.memory.put(BASE, RING)
        self.count = 0

    def begin(self, kind: int, at: int) -> None:
        self.memory.put(RING + self.count % SIZE * 16, at << 1 | kind, 0)

    def end(self, at: int) -> None:
        self.memory.put(RING + self.count % SIZE * 16 + 8, at)
        self.count += 1
        self.memory.put(COUNT, self.count)

    def span(self, at: int) -> None:
        self.begin(WAIT, at)
        self.end(at + 5)


def test_each_span_is_told_once_and_nothing_of_before() -> None:
    guest = Guest()
    guest.span(10)
    reader = Reader(TABLE, guest.memory.read)
    guest.span(20)
    guest.begin(COLLECTION, 30)
    assert reader.new() == [Span(WAIT, 20, 25), Span(COLLECTION, 30, 0)]
    assert reader.new() == [Span(COLLECTION, 30, 0)], "it goes on"
    guest.end(33)
    assert reader.new() == [Span(COLLECTION, 30, 33)]
    assert reader.new() == []
    assert reader.lost == 0


def test_one_that_is_written_just_then_does_not_go_on_since_a_ring_ago() -> None:
    guest = Guest()
    for i in range(SIZE):
        guest.span(10 * i + 10)
    reader = Reader(TABLE, guest.memory.read)
    guest.memory.put(RING + 8, 0)  # the begin was read before
    assert reader.new() == []
    guest.begin(WAIT, 100)
    assert reader.new() == [Span(WAIT, 100, 0)]


@pytest.mark.parametrize("number", [SIZE - 1, SIZE, 3 * SIZE])
def test_what_was_overwritten_is_counted(number: int) -> None:
    guest = Guest()
    reader = Reader(TABLE, guest.memory.read)
    for i in range(number):
        guest.span(10 * i + 10)
    lost = max(0, number - (SIZE - 1))  # the oldest slot may be the one that is being filled
    assert reader.new() == [Span(WAIT, 10 * i + 10, 10 * i + 15) for i in range(lost, number)]
    assert reader.lost == lost


def test_what_changes_while_it_is_read_is_not_told() -> None:
    guest = Guest()
    reads = 0

    def read(address: int, size: int) -> bytes:
        nonlocal reads
        reads += address == RING
        found = guest.memory.read(address, size)
        if address == RING and reads == 1:
            for i in range(SIZE + 2):  # all that the reader has just counted is overwritten
                guest.span(1000 + 10 * i)
        return found

    reader = Reader(TABLE, read)
    for i in range(4):
        guest.span(10 * i + 10)
    assert reader.new() == []
    assert reader.lost == 4
    assert [span.begin for span in reader.new()] == [1000 + 10 * i for i in range(3, SIZE + 2)]
    assert reader.lost == 7
