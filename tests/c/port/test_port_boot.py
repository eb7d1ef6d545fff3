# SPDX-License-Identifier: MIT
"""port/boot: from a PVH start info to the page tables, walked entry by entry, for many layouts of RAM, at random places
or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

PAGE, MIB, GIB = 4096, 1 << 20, 1 << 30
MOVED = 512 * GIB  # no less
PRESENT, WRITE, USER, UNCACHED, NX = 1, 2, 4, 0x18, 1 << 63
RX, R, RW = PRESENT | USER, PRESENT | USER | NX, PRESENT | USER | WRITE | NX
MONITOR_RX, MONITOR_RW = PRESENT, PRESENT | WRITE | NX
MMIO = RW | UNCACHED
RAM = 1
# Borders of an image, as link.ld would set them. The guards lie below the two stacks.
LINK = {
    "link_start": 0x100000,
    "link_text": 0x101000,
    "link_rodata": 0x130000,
    "link_monitor": 0x150000,
    "link_data": 0x154000,
    "monitor_pending": 0x157100,
    "boot_guard0": 0x158000,
    "boot_stack_bottom": 0x159000,
    "boot_stack_top": 0x199000,
    "boot_guard1": 0x199000,
    "link_monitor_ro": 0x19E000,
    "link_monitor_bss": 0x19F000,
    "link_end": 0x1A2000,
}
IMAGE = [
    (0x100000, 0x101000, MONITOR_RX),
    (0x101000, 0x130000, RX),
    (0x130000, 0x150000, R),
    (0x150000, 0x154000, MONITOR_RW),
    (0x154000, 0x158000, RW),
    (0x159000, 0x199000, RW),
    (0x19A000, 0x19E000, RW),
    (0x19E000, 0x19F000, R),
    (0x19F000, 0x1A2000, MONITOR_RW),
]
# None; the least and the largest; with RAM across a border of the second and the third level.
OFFSETS = [0, MOVED, 64 * 1024 * GIB - 2 * MIB, 3 * MOVED - 4 * MIB, MOVED + GIB - 2 * MIB]
WORDS = {"map", "dma", "table", "free", "arena", "total", "hypercalls", "x87", "cr4", "translates"}
Regions = list[tuple[int, int]]
LOW = (0, 0x9FC00)
LAYOUTS: dict[str, Regions] = {
    "4 MiB": [LOW, (MIB, 4 * MIB)],
    "4 MiB in one piece": [(0, 4 * MIB)],
    "odd end": [LOW, (MIB, 32 * MIB + 0x3800)],
    "ends at 2 MiB + a page": [LOW, (MIB, 2 * MIB + PAGE)],
    "256 MiB": [LOW, (MIB, 256 * MIB)],
    "3 GiB": [LOW, (MIB, 3 * GIB)],
    "3.5 GiB below, 1.5 above": [LOW, (MIB, 0xE0000000), (4 * GIB, 4 * GIB + 3 * GIB // 2)],
    "3.2 GiB, not a multiple of 2 MiB": [LOW, (MIB, 0xCCD37000)],
    "16 GiB": [LOW, (MIB, 2 * GIB), (4 * GIB, 18 * GIB)],
    "500 GiB": [LOW, (MIB, 2 * GIB), (4 * GIB, 502 * GIB)],
    "many pieces": [LOW, *((MIB + i * 8 * MIB, MIB + i * 8 * MIB + 3 * MIB + i * PAGE) for i in range(12))],
    "unsorted": [(64 * MIB, 65 * MIB), LOW, (MIB, 16 * MIB), (32 * MIB + 1, 34 * MIB - 1)],
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    symbols = [f"-Wl,--defsym={name}={value:#x}" for name, value in LINK.items()]
    # Linked high, so that the addresses of a small machine are free for it.
    return build(tmp_path_factory.mktemp("boot"), "boot", "-no-pie", "-Wl,-Ttext-segment=0x40000000", *symbols)


@dataclass
class Tables:
    """What the walk found. maps: (start, end, rights), merged where neighbours are alike, by physical addresses;
    maps has those of RAM, low what is not moved. Without an offset they are one."""

    offset: int = 0
    maps: list[tuple[int, int, int]] = field(default_factory=list)
    low: list[tuple[int, int, int]] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)
    dma: list[tuple[int, int, int]] = field(default_factory=list)
    translates: int = 0
    free: Regions = field(default_factory=list)
    arena: tuple[int, int, int] = (0, 0, 0)
    total: int = 0
    hypercalls: int = 0
    x87: int = 0
    cr4: int = 0
    complaints: list[str] = field(default_factory=list)

    def take(self, word: str, *numbers: int) -> None:
        """A line of the program's."""
        if word in ("hypercalls", "total", "x87", "cr4", "translates"):
            setattr(self, word, numbers[0])
        elif word == "dma":
            self.dma.append((numbers[0], numbers[1], numbers[2]))
        elif word == "table":
            self.tables.append(numbers[0])
        elif word == "free":
            self.free.append((numbers[0] - self.offset, numbers[1] - self.offset))
        elif word == "arena":
            moved = self.offset if numbers[1] else 0
            self.arena = (numbers[0] - moved, numbers[1] - moved, numbers[2])
        else:
            start, end, rights = numbers
            if not self.offset or start < MOVED:
                self.low.append((start, end, rights))
            if not self.offset or start >= MOVED:
                self.maps.append((start - self.offset, end - self.offset, rights))

    def rights(self, start: int, end: int, *, low: bool = False) -> set[int]:
        """All rights that pages of [start, end) have; 0 stands for unmapped."""
        found, covered = set(), 0
        for a, b, rights in self.low if low else self.maps:
            if a < end and start < b:
                found.add(rights)
                covered += min(b, end) - max(a, start)
        assert covered <= end - start, "mapped twice"
        return found if covered == end - start else found | {0}


def boot(h: Harness, regions: Regions, *, modules: Regions = (), arena_pages: int = 0, offset: int = 0) -> Tables:
    for start, end in regions:
        h.do("ram", start, end - start, RAM)
    h.do("ram", 0xFEFFC000, 0x4000, 2)  # reserved: never free RAM
    for start, end in modules:
        h.do("module", start, end - start)
    h.do("offset", offset)
    t = Tables(offset)
    for line in h.do("boot", arena_pages).split("\n"):
        word, *rest = line.split(" ")
        if word in WORDS:
            t.take(word, *(int(n, 16) for n in rest))
        else:
            t.complaints.append(line)
    return t


def check(t: Tables, regions: Regions) -> None:
    """Everything that holds for any layout."""
    assert t.complaints == []
    assert t.x87 == 0x37F, "the x87 counts in single precision, or interrupts for what is not exact"
    assert all(not (rights & WRITE and not rights & NX) for _, _, rights in t.maps + t.low), "writable and executable"
    assert t.rights(0, MIB) == t.rights(0, MIB, low=True) == {0}  # page zero, and all of low memory
    for start, end, rights in IMAGE:
        assert t.rights(start, end, low=not rights & USER) == {rights}, hex(start)
    if t.offset:
        assert all(rights & USER for _, _, rights in t.maps), "the monitor's"
        assert all(rights & UNCACHED or not rights & USER or a >= 0xFEFF8000 for a, _, rights in t.low), "ring 3's"
        assert t.rights(0x157000, 0x158000, low=True) == {MONITOR_RW}, "what the monitor tells"
    for guard in ("boot_guard0", "boot_guard1"):
        assert t.rights(LINK[guard], LINK[guard] + PAGE) == {0}
    executable = sorted({(a, b) for a, b, rights in t.maps + t.low if not rights & NX})
    assert executable == [(0x100000, 0x101000), (0x101000, 0x130000)]
    assert len(t.tables) == len(set(t.tables)), "a table with two parents"
    for table in t.tables:
        assert table >= LINK["link_end"], f"table {table:#x}"
        assert t.rights(table, table + PAGE, low=True) == {MONITOR_RW}, f"table {table:#x}"
        assert not t.offset or t.rights(table, table + PAGE) == {0}, f"table {table:#x}"
        assert not any(a < table + PAGE and table < b for a, b in t.free), "a table in free RAM"
    for start, end in t.free:
        assert start % PAGE == 0 and end % PAGE == 0 and start <= end
        assert start == end or t.rights(start, end) == {RW}
        assert any(a <= start and end <= b for a, b in regions), f"{start:#x}..{end:#x} is not RAM"
        assert start >= LINK["link_end"]
    ordered = sorted(t.free)
    assert all(a[1] <= b[0] for a, b in pairwise(ordered)), "free twice"
    for a, b, rights in t.low:  # uncached is what is above RAM and below 4 GiB, and nothing else
        if rights & UNCACHED:
            assert a >= 3 * GIB and b <= 4 * GIB and rights == MMIO
            assert not any(x < b and a < y for x, y in regions)
    assert t.rights(0xFEB00000, 0xFED00000, low=True) == {MMIO}
    assert t.rights(0xFEDA0000, 4 * GIB, low=True) == ({MMIO, RW} if t.hypercalls else {MMIO})
    assert t.rights(0xFED00000, 0xFED01000, low=True) == ({0} if t.dma else {MMIO})  # the HPET
    assert t.rights(0xFED90000, 0xFED91000, low=True) == ({0} if t.dma else {MMIO})  # the IOMMU
    assert t.total == sum(end - start for start, end in regions)
    check_parts(t)


def check_parts(t: Tables) -> None:
    """The C heap's part comes first, that for devices last, each with a page towards its neighbour that is not there."""
    c_heap, *_, devices = t.free
    for page in (c_heap[1], devices[0] - PAGE) if len(t.free) > 2 else ():
        assert t.rights(page, page + PAGE) == {0}, f"no guard page at {page:#x}"
        assert sum(page in (end, start - PAGE) for start, end in t.free) == 2, f"not between two at {page:#x}"
    assert len(t.free) > 2 or max(end - start for start, end in t.free) < 64 << 10
    for page in (t.arena[0] - PAGE, t.arena[1]) if t.arena[1] else ():
        assert t.rights(page, page + PAGE) == {0}, f"no guard page at {page:#x}, where the arena ends"


@pytest.mark.parametrize("pages", [1, 0x5E, 0x400, 0x4321])
def test_what_is_appended_can_be_read_and_no_more(program: Path, pages: int) -> None:
    """A ready kernel's application lies behind link_end; free RAM and the tables come after it."""
    end = LINK["link_end"] + pages * PAGE
    with Harness(program) as h:
        h.do("appended", pages * PAGE)
        t = boot(h, [LOW, (MIB, 256 * MIB)])
    check(t, [LOW, (MIB, 256 * MIB)])
    assert t.rights(LINK["link_end"], end) == {R}
    assert all(table >= end for table in t.tables)
    assert all(start >= end for start, _ in t.free)


def lost(t: Tables, regions: Regions) -> int:
    """Bytes of RAM above 1 MiB that are neither image nor free nor arena."""
    high = sum(end - max(start, MIB) for start, end in regions if end > MIB)
    free = sum(end - start for start, end in t.free) + t.arena[1] - t.arena[0]
    return high - (LINK["link_end"] - MIB) - free


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("arena_pages", [0, 256, 1024])
@pytest.mark.parametrize("offset", OFFSETS)
def test_tables(h: Harness, name: str, arena_pages: int, offset: int) -> None:
    regions = LAYOUTS[name]
    t = boot(h, regions, arena_pages=arena_pages, offset=offset)
    check(t, regions)
    # A fixed number, and a table for each GiB (of a page) and border: little, also on the largest machine.
    assert lost(t, regions) <= 100 * PAGE + (sum(b - a for a, b in regions) >> 18) + 2 * PAGE * len(regions)


@pytest.mark.parametrize("arena_pages", [1, 256, 512, 513, 2048])
def test_arena(h: Harness, arena_pages: int) -> None:
    """Small pages, whose entries lie in one row that MONITOR_PROTECT can index."""
    regions = LAYOUTS["256 MiB"]
    t = boot(h, regions, arena_pages=arena_pages)
    check(t, regions)
    start, end, entries = t.arena
    assert end - start >= arena_pages * PAGE
    assert start % (2 * MIB) == end % (2 * MIB) == 0
    assert t.rights(start, end) == {RW}
    assert not any(a < end and start < b for a, b in t.free)
    pages_of_entries = range(entries, entries + (end - start) // 512, PAGE)
    assert set(pages_of_entries) <= set(t.tables)


@pytest.mark.parametrize("name", ["4 MiB", "ends at 2 MiB + a page"])
def test_a_machine_too_small_for_an_arena_has_none(h: Harness, name: str) -> None:
    t = boot(h, LAYOUTS[name], arena_pages=2048)
    check(t, LAYOUTS[name])
    assert t.arena[0] == t.arena[1]


@pytest.mark.parametrize(
    "modules",
    [[(16 * MIB, 17 * MIB)], [(16 * MIB + 5, 16 * MIB + 4100), (20 * MIB, 20 * MIB + 1)], [(31 * MIB, 32 * MIB)]],
)
@pytest.mark.parametrize("arena_pages", [0, 256])
def test_modules_are_kept_and_read_only(h: Harness, modules: Regions, arena_pages: int) -> None:
    regions = [LOW, (MIB, 32 * MIB)]
    t = boot(h, regions, modules=modules, arena_pages=arena_pages, offset=MOVED + 6 * MIB)
    check(t, regions)
    for start, end in modules:
        assert t.rights(start // PAGE * PAGE, -(-end // PAGE) * PAGE) == {R}
        assert not any(a < end and start < b for a, b in t.free)


@pytest.mark.parametrize(("maker", "instruction"), [(b"Auth", 2), (b"Hygo", 2), (b"Genu", 1)])
def test_under_xen_its_pages_are_memory(h: Harness, maker: bytes, instruction: int) -> None:
    """AMD's processors make hypercalls by vmmcall, others by vmcall; the pages that Xen shares are cached."""
    h.do("xen", int.from_bytes(maker, "little"))
    t = boot(h, LAYOUTS["256 MiB"], offset=7 * MOVED)
    check(t, LAYOUTS["256 MiB"])
    assert t.hypercalls == instruction
    assert t.rights(0xFEFF8000, 0xFF000000, low=True) == {RW}
    assert t.rights(0xFEE00000, 0xFEE01000, low=True) == {MMIO}


CAPABLE = 1 << 9 | 1 << 34


def reached(t: Tables, start: int, end: int) -> set[int]:
    """What devices may do with pages of [start, end): 1 reads, 2 writes; 0 where they come no way."""
    found, covered = set(), 0
    for a, b, rights in t.dma:
        if a < end and start < b:
            found.add(rights)
            covered += min(b, end) - max(a, start)
    return found if covered == end - start else found | {0}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("arena_pages", [0, 1024])
@pytest.mark.parametrize("offset", OFFSETS[:3])
def test_devices_behind_an_iommu(h: Harness, name: str, arena_pages: int, offset: int) -> None:
    """They write free RAM and data, read constants, and nothing else."""
    regions = LAYOUTS[name]
    h.do("iommu", CAPABLE, 1)
    h.do("appended", 2 * PAGE)
    file = (LINK["link_end"] + 2 * PAGE, LINK["link_end"] + 3 * PAGE)
    t = boot(h, regions, modules=[file], arena_pages=arena_pages, offset=offset)
    check(t, regions)
    assert t.translates == 1 << 31 | 1 << 30 or t.translates == 1 << 31
    for start, end in t.free:
        assert start == end or reached(t, start, end) == {3}
    for start, end, rights in IMAGE:
        assert reached(t, start, end) == {3 if rights == RW else 1 if rights == R and start < LINK["link_data"] else 0}
    assert reached(t, LINK["link_end"], LINK["link_end"] + 2 * PAGE) == reached(t, *file) == {1}
    if t.arena[1] > t.arena[0]:
        assert reached(t, *t.arena[:2]) == {0}
    assert all(reached(t, table, table + PAGE) == {0} for table in t.tables)
    writable = sum(end - start for start, end, rights in t.dma if rights & 2)
    free = sum(end - start for start, end in t.free)
    assert writable == free + LINK["link_monitor_ro"] - LINK["link_data"]  # and guards, which hold nothing


@pytest.mark.parametrize(("capabilities", "answers"), [(CAPABLE, 0), (1 << 9, 1), (1 << 34, 1), (0, 1)])
def test_an_iommu_that_does_not_serve_is_a_panic(h: Harness, capabilities: int, answers: int) -> None:
    h.do("iommu", capabilities, answers)
    t = boot(h, LAYOUTS["256 MiB"])
    assert len(t.complaints) == 1 and t.complaints[0].startswith("PANIC")


SMEP, UMIP = 1 << 20, 1 << 11  # of CR4


@pytest.mark.parametrize(
    ("leaves", "ebx", "ecx", "cr4"),
    [
        (6, 0xFFFFFFFF, 0xFFFFFFFF, 0),  # what leaf 7 says there is another one's
        (7, 0, 0, 0),
        (7, 1 << 7, 0, SMEP),
        (7, 0, 1 << 2, UMIP),
        (7, 0xFFFFFFFF, 0xFFFFFFFF, SMEP | UMIP),
        (7, ~(1 << 7) & 0xFFFFFFFF, ~(1 << 2) & 0xFFFFFFFF, 0),
        (0x20, 1 << 7, 1 << 2, SMEP | UMIP),
    ],
)
def test_what_the_processor_has_against_ring_3_is_switched_on(
    h: Harness, leaves: int, ebx: int, ecx: int, cr4: int
) -> None:
    """With the page tables, and no other bit (Intel SDM vol. 3, 2.5; CPUID leaf 7)."""
    h.do("cpuid", leaves, ebx, ecx)
    t = boot(h, LAYOUTS["256 MiB"])
    check(t, LAYOUTS["256 MiB"])
    assert t.cr4 == cr4


# Borders anywhere; the first region always holds the image.
GAPS = st.lists(st.tuples(st.integers(0, 64 * MIB), st.integers(1, 96 * MIB)), max_size=8)


@given(
    st.integers(3 * MIB, 64 * MIB),
    GAPS,
    st.sampled_from([0, 256]),
    st.booleans(),
    st.one_of(st.just(0), st.integers(1 << 18, (1 << 25) - 1).map(lambda n: n * 2 * MIB)),
)
@settings(deadline=None, max_examples=80)
def test_any_layout(
    program: Path, first: int, gaps: list[tuple[int, int]], arena_pages: int, high: bool, offset: int
) -> None:
    regions: Regions = [LOW, (MIB, first)]
    for gap, size in gaps:
        start = regions[-1][1] + gap
        regions.append((start, start + size))
    if high:
        regions.append((4 * GIB + 12345, 7 * GIB + 54321))
    with Harness(program) as h:
        check(boot(h, regions, arena_pages=arena_pages, offset=offset), regions)


def test_no_ram_behind_the_image_is_a_panic(h: Harness) -> None:
    t = boot(h, [LOW, (MIB, LINK["link_end"])])
    assert len(t.complaints) == 1 and t.complaints[0].startswith("PANIC")


# ---- the command line -------------------------------------------------------------------------------

DEVICE = "virtio_mmio.device=512@0xfeb00e00:12"


def copied(h: Harness, line: str) -> str:
    return bytes.fromhex(h.do("cmdline", line.encode().hex() or "-")).decode()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("ip=dhcp", ["ip=dhcp"]),
        (f"ip=dhcp -- a b {DEVICE}", [DEVICE, "ip=dhcp", "--", "a", "b"]),
        (f"-- a {DEVICE} {DEVICE}1  ", [DEVICE, f"{DEVICE}1", "--", "a"]),
        (f"{DEVICE}", [DEVICE]),
        (f" {DEVICE} x", [DEVICE, "x"]),  # not at the end: it stays where it is
        (f"-- {DEVICE} x {DEVICE}", [DEVICE, "--", DEVICE, "x"]),
        ("-- virtio_mmio.other=1", ["--", "virtio_mmio.other=1"]),
    ],
)
def test_the_hypervisor_s_words_come_first(h: Harness, line: str, words: list[str]) -> None:
    assert copied(h, line).split() == words


@pytest.mark.parametrize("n", [4093, 4094, 4095, 5000])
def test_a_long_line_is_cut(h: Harness, n: int) -> None:
    line = ("ab " * 2000)[:n]
    result = copied(h, line)
    assert len(result) <= 4095
    assert line.startswith(result.strip())
    assert len(result.strip()) >= 4090
