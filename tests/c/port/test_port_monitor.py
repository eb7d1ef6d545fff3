# SPDX-License-Identifier: MIT
"""port/monitor: all that ring 0 does, instruction by instruction, for every service with every bad argument.

tests/target/security asks the same of a processor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build

MAX = (1 << 64) - 1
BAD = MAX  # -1
NOP, IDLE, LOCK, PROTECT, KVMCLOCK, TRIPLE_FAULT, POWER_OFF, HYPERCALL, SERVICES = range(9)
PAGE = 4096
START, PAGES = 0x40000000, 16
OFFSET = 0x3F000000  # of ring 3's addresses above the physical ones
END = START + PAGES * PAGE
WRITABLE, EXECUTABLE = 1 << 63 | 7, 5
# Xen's public/xen.h: memory_op, grant_table_op, vcpu_op, sched_op, event_channel_op, hvm_op.
ALLOWED = {12, 20, 24, 29, 32, 34}
WITH_ERROR = {8, 10, 11, 12, 13, 14, 17, 21, 29, 30}  # Intel SDM vol. 3, table 6-1; AMD's APM vol. 2, 8.2
IRQS, IRQ_BASE, SPURIOUS = 48, 0x40, 0xFF
HOST_FLAGS = ["-no-pie", "-fno-pie", "-fno-sanitize=all", "-Wl,-z,noexecstack"]  # at addresses of 32 bits, as in a VM


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [str(ROOT / "port/monitor" / name) for name in ("monitor.S", "idt.c")]
    return build(tmp_path_factory.mktemp("monitor"), "monitor", *sources, *HOST_FLAGS)


@dataclass
class Did:
    """What ring 0 did: privileged instructions with their operands in order, page table entries written by index, and
    how it ended: ("rax", value), ("panic", stack pointer), ("gone", _)."""

    events: list[tuple[str, ...]] = field(default_factory=list)
    ptes: dict[int, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    end: tuple[str, int] = ("", 0)
    pending: int = 0
    eoi: list[int] = field(default_factory=list)
    more: dict[str, list[int]] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        return not (self.events or self.ptes or self.lost or self.pending or self.eoi)


def do(h: Harness, *words: object) -> Did:
    did = Did()
    for line in h.do(*words).splitlines():
        name, _, rest = line.partition(" ")
        numbers = [] if name == "lost" else [int(n, 16) for n in rest.split() if n.strip("-0123456789abcdef") == ""]
        if name == "pte":
            did.ptes[int(rest.split()[0])] = numbers[1]
        elif name == "lost":
            did.lost.append(rest)
        elif name in ("rax", "panic", "gone"):
            did.end = (name, numbers[0])
        elif name == "pending":
            did.pending = numbers[0]
        elif name == "eoi":
            did.eoi.append(numbers[0])
        elif name in ("fault", "top", "flags", "looks"):
            did.more[name] = numbers
        else:
            did.events.append((name, *rest.split()))
    return did


def service(h: Harness, number: int, a: int = 0, b: int = 0, c: int = 0, *, rcx: int = 0) -> Did:
    did = do(h, "service", number, a, b, c, rcx)
    assert did.lost == [], "a register that a caller may keep something in"
    return did


def refused(did: Did) -> bool:
    return did.nothing and did.end == ("rax", BAD)


@pytest.fixture
def h(program: Path) -> Iterator[Harness]:
    with Harness(program) as harness:
        harness.do("arena", START, END, OFFSET)
        yield harness


# ---- numbers ------------------------------------------------------------------------------------------


def test_nop(h: Harness) -> None:
    did = service(h, NOP)
    assert did.nothing and did.end == ("rax", 0)


@pytest.mark.parametrize("number", [SERVICES, SERVICES + 1, 63, 255, 1 << 31, 0xFFFFFFFF, MAX])
def test_no_such_service(h: Harness, number: int) -> None:
    assert refused(service(h, number, START, 1, 1))


@pytest.mark.parametrize("number", range(SERVICES))
def test_the_upper_half_of_the_number_is_not_looked_at(h: Harness, number: int) -> None:
    """The table is not left by it either."""
    if number in (TRIPLE_FAULT, POWER_OFF):
        assert do(h, "service", 1 << 63 | number).events == do(h, "service", number).events
    else:
        third = 0 if number == LOCK else 5  # LOCK goes on so much further
        assert service(h, 0xFFFFFFFF << 32 | number, 1, 1, third).end[0] == "rax"


# ---- LOCK -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [0, 1 << 20, 1 << 20 | 1 << 11])
def test_the_first_lock(h: Harness, bits: int) -> None:
    h.do("cr4", 0x620)
    did = service(h, LOCK, 0x123000, bits)
    assert did.events == [("cr3", "123000", "0", "0", "0"), ("cr4", f"{0x620 | bits:x}", "0", "0", "0")]
    assert did.end == ("rax", 0)


def test_the_first_lock_goes_on_where_ring_3_is_from_then_on(h: Harness) -> None:
    did = do(h, "elsewhere", 0x123000)
    assert did.end == ("panic", did.more["top"][0])


@pytest.mark.parametrize("pml4", [0x123000, 0, PAGE, START, MAX, 1 << 63])
@pytest.mark.parametrize("bits", [0, 1 << 20, MAX])
def test_a_second_lock_changes_nothing(h: Harness, pml4: int, bits: int) -> None:
    """The most important line of the product: else ring 3 chooses its page tables."""
    assert service(h, LOCK, 0x123000).end == ("rax", 0)
    for _ in range(300):  # nor does a counter run over
        assert refused(service(h, LOCK, pml4, bits))


# ---- PROTECT ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, PAGES), (3, 2), (PAGES - 1, 1), (0, 0), (PAGES - 1, 0)])
def test_protect(h: Harness, first: int, count: int, kind: int) -> None:
    did = service(h, PROTECT, START + first * PAGE, count, kind)
    assert did.end == ("rax", 0)
    rights = EXECUTABLE if kind else WRITABLE
    pages = range(first, first + count)
    assert did.ptes == {page: START - OFFSET + page * PAGE | rights for page in pages}
    assert did.events == [("invlpg", f"{START + page * PAGE:x}", "0", "0", "0") for page in pages]


@pytest.mark.parametrize(
    ("address", "count", "kind"),
    [
        (START - PAGE, 1, 1),
        (START - PAGE, 2, 1),
        (END, 1, 1),
        (END, 0, 1),
        (END - PAGE, 2, 1),
        (START, PAGES + 1, 1),
        (START, 0x100000, 1),
        (START, 0x100001, 1),
        (START, 1 << 52, 1),  # times the size of a page: 0
        (START, (1 << 52) + 1, 1),
        (START, MAX, 1),
        (START + PAGE, MAX, 1),
        (START, 1 << 63, 1),
        (START + 1, 1, 1),
        (START + 8, 1, 1),
        (START + 0x800, 1, 1),
        (START, 1, 2),
        (START, 1, 3),
        (START, 1, 0xFFFFFFFF),
        (0, 1, 1),
        (MAX & ~0xFFF, 1, 1),
        (1 << 63, 1, 1),
        (START + (1 << 32), 1, 1),
        (START - (1 << 20), 0x100, 0),
    ],
)
def test_protect_refuses(h: Harness, address: int, count: int, kind: int) -> None:
    assert refused(service(h, PROTECT, address, count, kind))


def test_without_an_arena_nothing_is_protected(h: Harness) -> None:
    h.do("arena", 0, 0)
    for address in (0, PAGE, START):
        for count in (0, 1):
            assert refused(service(h, PROTECT, address, count, 1))


ODD = st.sampled_from([0, 1, PAGES, 1 << 20, 1 << 32, 1 << 52, 1 << 63, START, END])
NUMBERS = st.one_of(st.integers(0, MAX), st.builds(lambda a, b: (a + b) & MAX, ODD, st.integers(-3, 3)))


@pytest.fixture(scope="module")
def arena(program: Path) -> Iterator[Harness]:
    """One for many questions: PROTECT keeps no state."""
    with Harness(program) as harness:
        harness.do("arena", START, END, OFFSET)
        yield harness


@given(st.one_of(NUMBERS, st.integers(-2, PAGES + 2).map(lambda n: START + n * PAGE)), NUMBERS, NUMBERS)
@settings(deadline=None, max_examples=300)
def test_protect_never_leaves_the_arena(arena: Harness, address: int, count: int, kind: int) -> None:
    did = service(arena, PROTECT, address, count, kind)
    right = address % PAGE == 0 and START <= address < END and address + count * PAGE <= END
    if right and kind & 0xFFFFFFFF in (0, 1):
        first = (address - START) // PAGE
        assert did.end == ("rax", 0) and sorted(did.ptes) == list(range(first, first + count))
    else:
        assert refused(did)


# ---- KVMCLOCK, hypercalls, ends -----------------------------------------------------------------------------


def test_kvmclock_supplies_the_address(h: Harness) -> None:
    clock, wall = h.do("clocks").split()
    for number, address in ((0x4B564D01, int(clock, 16) | 1), (0x4B564D00, int(wall, 16))):
        for high in (0, MAX << 32 & MAX):
            did = service(h, KVMCLOCK, high | number, MAX, MAX)
            assert did.events == [("wrmsr", f"{number:x}", f"{address:x}", "0", "0")]
            assert did.end == ("rax", 0)


@pytest.mark.parametrize("msr", [0, 0x1B, 0x10, 0x174, 0xC0000080, 0xC0000082, 0x4B564CFF, 0x4B564D02, 0xFFFFFFFF, MAX])
def test_no_other_msr_is_written(h: Harness, msr: int) -> None:
    assert refused(service(h, KVMCLOCK, msr))


@pytest.mark.parametrize(("by", "instruction"), [(1, "vmcall"), (2, "vmmcall")])
def test_hypercalls(h: Harness, by: int, instruction: str) -> None:
    h.do("hypercalls", by)
    for number in [*range(130), 1 << 31, 0xFFFFFFFF]:
        did = service(h, HYPERCALL, 5, 6, 7, rcx=number)
        if number in ALLOWED:
            assert did.events == [(instruction, f"{number:x}", "5", "6", "7")]
            assert did.end == ("rax", 0x7777)
        else:
            assert refused(did), number


def test_the_upper_half_of_a_hypercall_s_number_is_dropped(h: Harness) -> None:
    """Xen would look at it."""
    h.do("hypercalls", 1)
    assert service(h, HYPERCALL, 5, 6, 7, rcx=0xFFFFFFFF << 32 | 29).events == [("vmcall", "1d", "5", "6", "7")]


def test_without_xen_there_are_no_hypercalls(h: Harness) -> None:
    for number in range(70):
        assert refused(service(h, HYPERCALL, rcx=number))


def test_triple_fault(h: Harness) -> None:
    did = do(h, "service", TRIPLE_FAULT)
    assert [e[:2] for e in did.events] == [("lidt", "0"), ("ud2", "4")] and did.end[0] == "gone"


def test_power_off(h: Harness) -> None:
    did = service(h, POWER_OFF)
    assert did.events == [("outw", "604", "2000", "0", "0")]


# ---- interrupts -------------------------------------------------------------------------------------------


def test_idle(h: Harness) -> None:
    did = service(h, IDLE)
    assert [e[0] for e in did.events] == ["sti", "hlt", "cli"]
    assert did.end == ("rax", IDLE)


@pytest.mark.parametrize("irq", range(IRQS))
def test_an_interrupt_ends_the_idle_service(h: Harness, irq: int) -> None:
    did = do(h, "irq", irq)
    assert (did.pending, did.eoi, did.lost, did.end[0]) == (1 << irq, [0], [], "rax")


def test_a_spurious_interrupt_is_acknowledged_and_no_more(h: Harness) -> None:
    did = do(h, "spurious")
    assert (did.pending, did.eoi, did.lost, did.end[0]) == (0, [0], [], "rax")


# ---- faults -----------------------------------------------------------------------------------------------

RIP, RSP, FLAGS, CR2 = 0x101234, 0x15A000, 0xED7, 0x7FFFFFFFF123


def fault(h: Harness, vector: int, rip: int = RIP) -> Did:
    error = 0xABC if vector in WITH_ERROR else "-"
    return do(h, "fault", vector, error, rip, RSP, FLAGS, CR2)


@pytest.mark.parametrize("vector", range(32))
def test_a_fault_is_told_whole(h: Harness, vector: int) -> None:
    """And goes on in ring 3, on the panic's stack."""
    did = fault(h, vector)
    registers = [0x1111111111111111 * n & MAX for n in range(1, 16)]  # as monitor.c has them: rax, rbx, ... r15
    error = 0xABC if vector in WITH_ERROR else 0
    assert did.more["fault"] == [*registers, vector, error, RIP, 0x33, FLAGS, RSP, 0x2B, CR2]
    assert did.end == ("panic", did.more["top"][0] - 8)
    assert did.more["flags"][0] & 0xDD5 == 0  # but for those that a process cannot change: nothing of the fault's
    assert did.events == []


def test_a_second_fault_is_told_too(h: Harness) -> None:
    assert fault(h, 14).end[0] == "panic"
    did = fault(h, 13, RIP + 1)
    assert did.end[0] == "panic" and did.more["fault"][15:18] == [13, 0xABC, RIP + 1]


def written(did: Did, instruction: str, port: int) -> bytes:
    return bytes(int(e[2], 16) for e in did.events if e[:2] == (instruction, f"{port:x}"))


@pytest.mark.parametrize(
    ("by", "instruction", "ready"),
    [(0, "", 0x60), (0, "", 0x20), (0, "", 0), (1, "vmcall", 0x60), (2, "vmmcall", 0x60)],
)
def test_a_third_fault_is_said_by_ring_0(h: Harness, by: int, instruction: str, ready: int) -> None:
    """On the 16550, ready or not, and on the port that Xen reads; then the VM ends by each way there is."""
    h.do("hypercalls", by)
    h.do("uart", ready)
    fault(h, 6, 0xFEDCBA9876543210)
    fault(h, 13)
    did = fault(h, 14, 0x1A2B3C4D5E6F7089)
    text = (
        b"\nPANIC: fault inside a panic, vector 0x000000000000000e rip=0x1a2b3c4d5e6f7089,"
        b" after vector 0x0000000000000006 rip=0xfedcba9876543210\n"
    )
    assert written(did, "outb", 0x3F8) == written(did, "outbi", 0xE9) == text
    assert did.more["looks"] == [len(text) * (1 if ready & 0x20 else 1000)]
    hypercalls = [e for e in did.events if e[0].startswith("vm")]
    assert [e[:3] for e in hypercalls[:1]] == ([(instruction, "1d", "2")] if by else [])  # which does not return
    ends = [e[:3] for e in did.events[-3:]]
    assert ends == [("outb", "f4", "79"), ("lidt", "0", "0"), ("ud2", "4", "0")]


def test_a_fourth_fault_only_ends_the_vm(h: Harness) -> None:
    for vector in (6, 13, 14):
        fault(h, vector)
    assert [e[:3] for e in fault(h, 14).events] == [("outb", "f4", "79"), ("lidt", "0", "0"), ("ud2", "4", "0")]


# ---- tables -----------------------------------------------------------------------------------------------


def tables(h: Harness) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in map(str.split, h.do("tables").splitlines())}


def test_segments(h: Harness) -> None:
    """Intel SDM vol. 3, 3.4.5: flat, of their ring, and none that is a gate."""
    found = tables(h)
    gdt = bytes.fromhex(found["gdt"][0])
    words = [int.from_bytes(gdt[at : at + 8], "little") for at in range(0, len(gdt), 8)]
    kinds = {at * 8: (word >> 40) & 0xFF for at, word in enumerate(words) if word and at < 8}
    assert kinds == {0x10: 0x9B, 0x18: 0x93, 0x20: 0xFB, 0x28: 0xF3, 0x30: 0xFB}
    flags = {at * 8: (word >> 52) & 0xF for at, word in enumerate(words) if word and at < 8}
    assert flags == {0x10: 0xA, 0x18: 0xC, 0x20: 0xC, 0x28: 0xC, 0x30: 0xA}
    assert all(word & 0xFFFF == 0xFFFF and word >> 48 & 0xF == 0xF for word in words[2:7])
    assert words[8] >> 40 & 0xFF == 0x89 and words[8] >> 48 & 0xF == 0 and words[7] == words[9] == 0
    assert found["gdtr"] == ["79", "1"] and found["idtr"] == ["4095", "1"]


def test_task_state(h: Harness) -> None:
    """Stacks of ring 0, the one for a double fault; the ports that drivers use are ring 3's (SDM vol. 1, 19.5.2)."""
    found = tables(h)
    tss, idt = bytes.fromhex(found["tss"][0]), int(found["idt"][0], 16)
    word = [int.from_bytes(tss[at : at + 8], "little") for at in range(4, 0x64, 8)]
    assert word[:5] == [idt - PAGE, 0, 0, 0, idt] and word[5:] == [0] * 7
    bitmap = int.from_bytes(tss[0x66:0x68], "little")
    assert bitmap == 0x68 and len(tss) == bitmap + 0xD00 // 8 + 1 and tss[-1] == 0xFF
    opened = {port for port in range(0xD00) if not tss[bitmap + port // 8] & 1 << port % 8}
    assert opened == {0x21, 0x64, 0x70, 0x71, 0xA1, *range(0xF4, 0xF8), *range(0x3F8, 0x400), 0x510, 0x511} | set(
        range(0xCF8, 0xD00)
    )


def test_gates(h: Harness) -> None:
    """Ring 3 may call the service's alone (SDM vol. 3, 6.12.1.2); all switch interrupts off."""
    stubs, gates, named = {}, {}, {}
    for words in map(str.split, h.do("idt").splitlines()):
        if words[0] == "stub":
            stubs[int(words[1])] = int(words[2], 16)
        elif words[0] == "gate":
            gates[int(words[1])] = bytes.fromhex(words[2])
        else:
            named[words[0]] = int(words[1], 16)
    want = stubs | {3: named["service"], SPURIOUS: named["spurious"]}
    assert set(gates) == {*range(32), *range(IRQ_BASE, IRQ_BASE + IRQS), SPURIOUS}
    assert len(set(stubs.values())) == len(stubs)
    for vector, gate in gates.items():
        address = int.from_bytes(gate[0:2] + gate[6:8] + gate[8:12], "little")
        assert (address, gate[2:4], gate[12:]) == (want[vector], b"\x10\0", bytes(4)), vector
        assert (gate[4], gate[5]) == (1 if vector == 8 else 0, 0xEE if vector == 3 else 0x8E), vector
