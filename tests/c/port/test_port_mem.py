# SPDX-License-Identifier: MIT
"""port/hal/mem.c: the C heap from below and everything else from above never meet, whatever is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

PAGE = 4096
Regions = list[tuple[int, int]]
LAYOUTS: list[Regions] = [
    [(0x200000, 0x400000)],
    [(0x200000, 0x300000), (0x301000, 0x500000), (0x501000, 0x600000)],  # the C heap's, Python's, and that for devices
    [(0x400000, 0x500000), (0x200000, 0x230000), (0x501000, 0x700000), (0x701000, 0x800000)],  # and one before an arena
    [(0x200000, 0x230000), (0x400000, 0x800000)],
    [(0x200000, 0xC0000000), (0x100000000, 0x180000000)],
    [(0x200000, 0x200000), (0x300000, 0x380000), (0x400000, 0x404000)],  # empty and tiny ones
]


@pytest.fixture(scope="module")
def mem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("mem"), "mem")


@dataclass
class Ram:
    """What was handed out, checked against the layout at every step."""

    h: Harness
    layout: Regions
    heap: Regions = field(default_factory=list)  # a piece for each region it has been in: start, peak
    heap_now: int = 0
    used: int = 0
    taken: Regions = field(default_factory=list)

    def start(self) -> None:
        for start, end in self.layout:
            self.h.do("ram", start, end)

    def sbrk(self, n: int) -> bool:
        old = self.h.number("sbrk", n)
        if old == -1:
            return False
        if old != self.heap_now or not self.heap:
            self.went_on(n)
            self.heap.append((old, old))
        self.heap_now = old + n
        self.used += n
        start, peak = self.heap[-1]
        assert self.heap_now >= start
        self.heap[-1] = (start, max(peak, self.heap_now))
        assert self.h.number("used") == self.used
        self.check(*self.heap[-1], self.taken + self.heap[:-1])
        return True

    def went_on(self, n: int) -> None:
        """The C heap is in another region: the one that it was in has not as much as n bytes."""
        for a, b in self.layout if self.heap else ():
            end = min([b, *(start for start, _ in self.taken if a <= start < b)])
            assert not a <= self.heap_now <= b or n > end - self.heap_now

    def take(self, n: int, align: int, reserve: int) -> bool:
        at = self.h.number("take", n, align, reserve)
        if at == 0:
            return False
        assert at % align == 0
        self.check(at, at + n, self.taken + [(start, peak) for start, peak in self.heap if peak > start])
        self.taken.append((at, at + n))
        return True

    def give(self, which: int) -> bool:
        """Return one of what was taken."""
        if not self.taken:
            return False
        start, end = self.taken[which % len(self.taken)]
        if self.h.number("return", start, end - start) == 0:
            return False
        self.taken.remove((start, end))
        return True

    def check(self, start: int, end: int, others: list[tuple[int, int]]) -> None:
        assert any(a <= start and end <= b for a, b in self.layout), f"{start:#x}..{end:#x} is no RAM"
        for a, b in others:
            assert end <= a or b <= start, f"{start:#x}..{end:#x} overlaps {a:#x}..{b:#x}"


@pytest.fixture(params=range(len(LAYOUTS)))
def ram(mem: Path, request: pytest.FixtureRequest) -> Iterator[Ram]:
    with Harness(mem) as h:
        ram = Ram(h, LAYOUTS[request.param])
        ram.start()
        yield ram


STEP = st.one_of(
    st.tuples(st.just("sbrk"), st.integers(-(1 << 20), 1 << 20)),
    st.tuples(
        st.just("take"),
        st.integers(1, 1 << 20),
        st.sampled_from([1, 16, PAGE, 1 << 16]),
        st.sampled_from([0, PAGE, 1 << 19]),
    ),
)


@given(st.sampled_from(LAYOUTS), st.lists(STEP, max_size=60))
@settings(deadline=None, max_examples=60)
def test_the_two_ends_never_meet(mem: Path, layout: Regions, steps: list[tuple[object, ...]]) -> None:
    with Harness(mem) as h:
        ram = Ram(h, layout)
        ram.start()
        for verb, *arguments in steps:
            getattr(ram, str(verb))(*arguments)


def test_until_nothing_is_left(ram: Ram) -> None:
    size = sum(end - start for start, end in ram.layout)
    assert ram.h.number("free") == size
    for shift in range(30, 11, -1):
        while ram.sbrk(1 << shift) | ram.take(1 << shift, PAGE, 0):
            pass
    assert ram.h.number("free") < PAGE
    assert ram.h.number("largest", 0) == 0
    assert ram.used + sum(end - start for start, end in ram.taken) == size


@pytest.mark.parametrize("n", [2**31, 2**40, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - PAGE])
def test_absurd_sizes_are_refused(ram: Ram, n: int) -> None:
    if n > sum(end - start for start, end in ram.layout):
        assert not ram.take(n, PAGE, 0)
        assert ram.h.number("sbrk", min(n, 2**63 - 1)) == -1
    assert ram.h.number("sbrk", -(2**63) + 1) == -1


def test_the_reserve_stays_with_the_c_heap(ram: Ram) -> None:
    biggest = max(end - start for start, end in ram.layout)
    reserve = biggest // 4 // (16 * PAGE) * 16 * PAGE
    for shift in range(30, 11, -1):
        while ram.take(1 << shift, PAGE, reserve):
            pass
    assert ram.h.number("largest", reserve) == 0
    assert all(ram.sbrk(reserve // 16) for _ in range(16))  # is there, perhaps not in one piece


def test_each_has_a_region_of_its_own(mem: Path) -> None:
    """Until it is full; what is for devices the heap of Python takes last but for the C heap's."""
    c_heap, heap, devices = LAYOUTS[1]
    with Harness(mem) as h:
        ram = Ram(h, LAYOUTS[1])
        ram.start()
        assert h.number("dma", PAGE, PAGE) == devices[1] - PAGE
        assert h.number("take", heap[1] - heap[0] - PAGE, PAGE, 0) == heap[0] + PAGE
        assert h.number("take", 2 * PAGE, PAGE, 0) == devices[1] - 3 * PAGE
        assert h.number("sbrk", c_heap[1] - c_heap[0]) == c_heap[0]
        assert h.number("sbrk", PAGE) == heap[0]
        assert h.number("dma", devices[1] - devices[0] - 3 * PAGE, PAGE) == devices[0]
        assert h.number("take", PAGE, PAGE, 0) == h.number("dma", PAGE, PAGE) == 0
        assert h.number("return", heap[0] + PAGE, PAGE) == 1
        assert h.number("dma", PAGE, PAGE) == heap[0] + PAGE


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 31, 40, 55])
def test_what_is_zeroed_is_all_of_it_and_nothing_beside_it(mem: Path, size: int) -> None:
    with Harness(mem) as h:
        assert h.numbers("clear", size) == ([8, 8 + size, 0] if size else [0, 0, 0])


def test_largest_can_be_taken(ram: Ram) -> None:
    for _ in range(4):
        n = ram.h.number("largest", PAGE)
        if n > 0:
            assert ram.take(n, PAGE, PAGE)
    assert not ram.take(PAGE, PAGE, PAGE)


def test_what_the_heap_gave_back_is_its_own_to_take_again(ram: Ram) -> None:
    assert ram.sbrk(64 * 1024)
    assert ram.sbrk(-32 * 1024)
    for shift in range(30, 11, -1):
        while ram.take(1 << shift, PAGE, 0):
            pass
    assert ram.sbrk(32 * 1024)


def test_what_was_taken_can_all_be_returned(ram: Ram) -> None:
    before = ram.h.number("free")
    while ram.take(PAGE * 40, PAGE, 0):
        if len(ram.taken) == 20:
            break
    assert not ram.taken or ram.h.number("free") < before
    while any(ram.give(i) for i in range(len(ram.taken))):
        pass
    assert ram.taken == []
    assert ram.h.number("free") == before
    assert ram.h.number("return", 0x12345000, PAGE) == 0
