# SPDX-License-Identifier: MIT
"""port/boot/acpi.c: what QEMU's tables say is found; tables that lie or end early are read no further than they go."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

LOW, HIGH, RAM, PAGE = 0x10000000, 0x50000000, 0x20000000, 4096
RSDP, LIST, FADT, MADT, DSDT, DMAR = (LOW + n * 0x10000 for n in range(6))
ROOM = 0x8000
IOAPIC = "ioapic fec00000 0"
NOTHING = ["button 0 0 0 0", "sleep 0 0", "pci 0 0 0", IOAPIC]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("acpi"), "acpi")


def table(name: bytes, body: bytes, length: int | None = None) -> bytes:
    raw = name + struct.pack("<IBB6s8sIII", length or 36 + len(body), 1, 0, b"FLOE", b"TEST", 1, 0, 1) + body
    return raw[:9] + bytes([-sum(raw) & 255]) + raw[10:]


def rsdp(at: int, wide: bool = False) -> bytes:
    raw = struct.pack("<8sB6sBI", b"RSD PTR ", 0, b"FLOE", 2 if wide else 0, 0 if wide else at)
    raw = raw[:8] + bytes([-sum(raw) & 255]) + raw[9:]
    rest = struct.pack("<IQB3x", 36, at if wide else 0, 0)
    return raw + rest[:12] + bytes([-sum(raw + rest) & 255]) + rest[13:]


def fadt(
    *,
    event: int = 0,
    event_len: int = 0,
    sci: int = 0,
    flags: int = 0,
    sleep: int = 0,
    end: int = 268,
    dsdt: int = DSDT,
) -> bytes:
    raw = bytearray(268)
    struct.pack_into("<I", raw, 40, dsdt)
    struct.pack_into("<H", raw, 46, sci)
    struct.pack_into("<I", raw, 56, event)
    raw[88] = event_len
    struct.pack_into("<I", raw, 112, flags)
    struct.pack_into("<BBBBQ", raw, 244, 0, 8, 0, 0, sleep)
    return table(b"FACP", bytes(raw[36:end]))


def span(body: bytes, extra: int = 0) -> bytes:
    """A PkgLength in two bytes, and what it spans."""
    n = len(body) + 2 + extra
    return bytes([0x40 | n & 15, n >> 4]) + body


def device(name: bytes, hid: bytes, crs: bytes, more: bytes = b"") -> bytes:
    """Resources by a _CRS, and what stands behind it."""
    buffer = b"\x0a" + bytes([len(crs) & 255]) + crs
    return b"\x5b\x82" + span(name + b"\x08_HID\x0d" + hid + b"\0" + b"\x08_UID\x01\x08_CRS\x11" + span(buffer) + more)


def memory(base: int, size: int) -> bytes:
    return struct.pack("<BHBII", 0x86, 9, 1, base, size)


def interrupt(gsi: int) -> bytes:
    return struct.pack("<BHBBI", 0x89, 6, 3, 1, gsi)


def window(start: int, end: int) -> bytes:
    return struct.pack("<BHBBBIIIII", 0x87, 23, 0, 12, 1, 0, start, end, 0, end - start + 1)


END = b"\x79\0"
VIRTIO = [device(b"VR23", b"LNRO0005", memory(0xFEB02E00, 512) + interrupt(47) + END),
          device(b"VR22", b"LNRO0005", memory(0xFEB02C00, 512) + interrupt(46) + END)]  # fmt: skip
EVENT = (
    b"\x5b\x80EREG\0\x0c"
    + struct.pack("<I", 0xFEA00000)
    + b"\x0a\x04\xa0\x10\x93\x7b\x60\x0a\x02\0\x0a\x02\x86PWRB\x0a\x80"
)
GED = device(b"GED_", b"ACPI0013", interrupt(9) + END, EVENT)
BUS = b"\x14\x0c_CBA\0\xa4\x0c" + struct.pack("<I", 0xE0000000)
PCI = b"\x5b\x82" + span(b"PCI0\x08_HID\x0dPNP0A08\0" + device(b"GSI0", b"PNP0C0F", interrupt(16) + END) + BUS
                         + b"\x08_CRS\x11" + span(b"\x0a\x1c" + window(0xC0000000, 0xDFFFFFFF) + END))  # fmt: skip
S5 = b"\x08_S5_\x12\x07\x04\x0a\x05\0\0\0"
MICROVM = b"\x10\x80_SB_" + GED + b"".join(VIRTIO) + PCI + S5
FOUND = ["button fea00000 0 2 9", "sleep fea00200 5", "pci e0000000 c0000000 dfffffff", IOAPIC, "ioapic fec10000 24",
         "virtio feb02e00 200 47", "virtio feb02c00 200 46"]  # fmt: skip


def beyond(raw: bytes, before: bytes) -> bytes:
    """The PkgLength behind these bytes says more than there is."""
    at = raw.index(before) + len(before)
    return raw[:at] + b"\x4f\x7f" + raw[at + 2 :]


def ioapic(base: int, gsi: int) -> bytes:
    return struct.pack("<BBBBII", 1, 12, 0, 0, base, gsi)


TWO = bytes(8) + b"\x00\x08\0\0\x01\0\0\0" + ioapic(0xFEC00000, 0) + ioapic(0xFEC10000, 24) + b"\x04\x06\xff\0\0\x01"


@dataclass
class Machine:
    """Tables as a firmware leaves them: each at the end of its memory."""

    dsdt: bytes = field(default_factory=lambda: table(b"DSDT", MICROVM))
    fadt: bytes = field(default_factory=lambda: fadt(sleep=0xFEA00200, flags=1 << 20))
    madt: bytes = field(default_factory=lambda: table(b"APIC", TWO))
    dmar: bytes = b""
    wide: bool = True
    listing: bytes | None = None
    rsdp: bytes | None = None
    high: int = 0  # what the entries of a list have besides the address

    def read(self, h: Harness) -> list[str]:
        at = {}
        entries = []

        def put(where: int, raw: bytes) -> int:
            h.do("map", where, ROOM)
            at[where] = where + ROOM - len(raw)
            h.do("put", at[where], raw.hex())
            return at[where]

        dsdt = put(DSDT, self.dsdt)
        for where, raw in ((FADT, self.fadt), (MADT, self.madt), *([(DMAR, self.dmar)] if self.dmar else [])):
            if raw[:4] == b"FACP" and raw[40:44] == struct.pack("<I", DSDT):
                raw = table(b"FACP", raw[36:40] + struct.pack("<I", dsdt) + raw[44:])
            entries.append(put(where, raw))
        name, form = (b"XSDT", "<Q") if self.wide else (b"RSDT", "<I")
        listed = put(
            LIST,
            self.listing or table(name, b"".join(struct.pack(form, self.high | e) for e in (0, 0xFFFFFFF0, *entries))),
        )
        start = put(RSDP, self.rsdp or rsdp(listed, self.wide))
        h.do("map", RAM, 16 * PAGE)
        h.do("ram", RAM, RAM + 16 * PAGE)
        return h.do("read", start).splitlines()


@pytest.mark.parametrize("wide", [True, False])
def test_a_microvm(h: Harness, wide: bool) -> None:
    assert Machine(wide=wide).read(h) == FOUND


def unit(base: int, length: int = 16) -> bytes:
    return struct.pack("<HHBBHQ", 0, length, 1, 0, 0, base)


OTHER = struct.pack("<HHI", 2, 8, 0)  # a structure that is of no interest
DMARS: list[tuple[bytes, list[str]]] = [
    (unit(0xFED90000), ["iommu fed90000"]),
    (OTHER + unit(0xFED90000) + unit(0xFED91000), ["iommu fed90000"]),
    (unit(0xFED90123), ["iommu fed90000"]),
    (unit(0x1000) + unit(0xFED90000), ["iommu fed90000"]),  # registers do not lie there
    (unit(0x1_FED9_0000), []),
    (unit(0xFED90000)[:15], []),
    (unit(0xFED90000, 8), []),
    (struct.pack("<HH", 2, 0) + unit(0xFED90000), []),
    (struct.pack("<HHI", 2, 0xFFFF, 0) + unit(0xFED90000), []),
    (b"", []),
]


@pytest.mark.parametrize(("body", "said"), DMARS)
def test_an_iommu(h: Harness, body: bytes, said: list[str]) -> None:
    found = Machine(dmar=table(b"DMAR", bytes(12) + body)).read(h)
    assert [line for line in found if line.startswith("iommu")] == said
    assert [line for line in found if not line.startswith("iommu")] == FOUND


PORTS = ["port 600", "port 601", "port 602", "port 603"]  # opened to ring 3


def test_a_pc(h: Harness) -> None:
    """QEMU's pc: a short table, the button in PM1's registers, nothing for us in the DSDT."""
    pc = Machine(dsdt=table(b"DSDT", S5), fadt=fadt(event=0x600, event_len=4, sci=9, flags=0x80A5, end=116), wide=False)
    assert pc.read(h) == ["button 600 602 100 9", *PORTS, "sleep 0 5", "pci 0 0 0", IOAPIC, "ioapic fec10000 24"]


def test_tables_above_what_is_mapped(h: Harness) -> None:
    """The boot page tables end at 1 GiB; what is added to them is gone afterwards."""
    dsdt = table(b"DSDT", MICROVM)
    h.do("map", HIGH, ROOM)
    h.do("put", HIGH, dsdt.hex())
    assert Machine(fadt=fadt(sleep=0xFEA00200, dsdt=HIGH)).read(h) == FOUND


@pytest.mark.parametrize("bit", [32, 40, 63])
def test_tables_above_4_gib(h: Harness, bit: int) -> None:
    """Entries of 64 bits: where the lower half points stands something else."""
    assert Machine(high=1 << bit).read(h) == NOTHING


@pytest.mark.parametrize("first", [0x80000000, 0xE0000000])
def test_ram_beside_the_window_of_a_bus(h: Harness, first: int) -> None:
    h.do("ram", first, first + 0x40000000 if first < 0xC0000000 else first + PAGE)
    assert Machine().read(h) == FOUND


@pytest.mark.parametrize("start", [0, 0xE0000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFF0, 1 << 40])
def test_no_tables(h: Harness, start: int) -> None:
    assert h.do("read", start).splitlines() == NOTHING


BROKEN: dict[str, Callable[[Machine], None]] = {
    "no RSDP": lambda m: setattr(m, "rsdp", bytes(36)),
    "RSDP's sum": lambda m: setattr(m, "rsdp", b"RSD PTR " + b"\1" * 28),
    "list is another table": lambda m: setattr(m, "listing", table(b"SSDT", bytes(64))),
    "list's sum": lambda m: setattr(m, "listing", table(b"XSDT", bytes(64))[:-1] + b"\1"),
    "list says no length": lambda m: setattr(m, "listing", table(b"XSDT", bytes(64), 1)),
    "list is endless": lambda m: setattr(m, "listing", table(b"XSDT", bytes(64), 0xFFFFFFFF)),
    "list is empty": lambda m: setattr(m, "listing", table(b"XSDT", b"")),
    "list ends in an entry": lambda m: setattr(m, "listing", table(b"XSDT", bytes(7))),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_lists(h: Harness, how: str) -> None:
    m = Machine()
    BROKEN[how](m)
    assert m.read(h) == NOTHING


@pytest.mark.parametrize(
    "words",
    [{"event": 0xCFE, "event_len": 4}, {"event": 0x600, "event_len": 0}, {"event": 0x600, "event_len": 6},
     {"event": 0xFFFFFFFE, "event_len": 4}, {"event": 0x600, "event_len": 4, "flags": 16}, {"event": 0x600, "end": 100},
     {"sleep": 0x1000}, {"sleep": 1 << 32}, {"sleep": 0xFEA00200, "end": 255}, {"dsdt": 0xDFFFFFF0}, {"dsdt": 1}],
)  # fmt: skip
def test_a_fadt_that_lies(h: Harness, words: dict[str, int]) -> None:
    """Ports out of ring 3's reach, registers in RAM, a table beyond all memory, fields behind its end."""
    if words.get("dsdt") == 1:
        h.do("map", 0x10000, PAGE)  # where a null pointer does not reach; nothing is there
        words = {"dsdt": 0x10000}
    assert Machine(fadt=fadt(**words), dsdt=table(b"DSDT", b"")).read(h) == [*NOTHING, "ioapic fec10000 24"]


@pytest.mark.parametrize(
    "entries",
    [b"", b"\x01", b"\x01\x0c", b"\x01\x00" + bytes(10), b"\x01\x0d" + bytes(10), b"\x01\x0b" + bytes(9),
     ioapic(0x1000, 0), ioapic(0xFFFFF800, 0), ioapic(0xFEC00000, 0)[:-1]],
)  # fmt: skip
def test_a_madt_that_lies(h: Harness, entries: bytes) -> None:
    """An I/O APIC is where a PC has it, then."""
    assert Machine(madt=table(b"APIC", bytes(8) + entries)).read(h)[3:5] == [IOAPIC, FOUND[5]]


def test_too_much_of_all(h: Harness) -> None:
    said = Machine(
        dsdt=table(b"DSDT", VIRTIO[0] * 100), madt=table(b"APIC", bytes(8) + ioapic(0xFEC00000, 0) * 50)
    ).read(h)
    assert [line.split()[0] for line in said[3:]] == ["ioapic"] * 4 + ["virtio"] * 24


LIES = {
    "registers in RAM": device(b"VR00", b"LNRO0005", memory(0x1000, 512) + interrupt(5) + END),
    "registers that wrap": device(b"VR00", b"LNRO0005", memory(0xFFFFFF00, 512) + interrupt(5) + END),
    "no interrupt": device(b"VR00", b"LNRO0005", memory(0xFEB00000, 512) + END),
    "no registers": device(b"VR00", b"LNRO0005", interrupt(5) + END),
    "descriptor beyond its buffer": device(b"VR00", b"LNRO0005", memory(0xFEB00000, 512) + interrupt(5)[:-1]),
    "short descriptors": device(b"VR00", b"LNRO0005", b"\x86\x02\0\0\0\x89\x01\0\0" + END),
    "device beyond the table": b"\x5b\x82\x4f\xff" + VIRTIO[0][4:],
    "buffer beyond the device": beyond(VIRTIO[0], b"_CRS\x11"),
    "nothing in it": b"\x5b\x82\x01",
    "a length of none": b"\x5b\x82\x00",
    "a length cut off": b"\x5b\x82\xc1",
    "event register in RAM": GED.replace(struct.pack("<I", 0xFEA00000), struct.pack("<I", 0x100000)),
    "event register between two": GED.replace(struct.pack("<I", 0xFEA00000), struct.pack("<I", 0xFEA00001)),
    "event's port, not memory": GED.replace(b"EREG\0", b"EREG\1"),
    "event of nobody": GED.replace(b"PWRB", b"XYZZ"),
    "bus in RAM": PCI.replace(struct.pack("<I", 0xE0000000), struct.pack("<I", 0x10000000)),
    "bus beyond 4 GiB": PCI.replace(struct.pack("<I", 0xE0000000), struct.pack("<I", 0xFFF00000)),
    "window over RAM": PCI.replace(struct.pack("<I", 0xC0000000), struct.pack("<I", 0x20000000)),
    "window of none": PCI.replace(struct.pack("<I", 0xDFFFFFFF), struct.pack("<I", 0xBFFFFFFF)),
    "sleep cut off": b"\x08_S5_\x12\x02\x04",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_dsdt_that_lies(h: Harness, lie: str) -> None:
    """Nothing is believed of the device in question; one behind it is found all the same."""
    said = Machine(dsdt=table(b"DSDT", LIES[lie] + bytes(16) + VIRTIO[0])).read(h)
    assert said == ["button 0 0 0 0", "sleep fea00200 0", "pci 0 0 0", IOAPIC, "ioapic fec10000 24", FOUND[5]]


@given(
    st.integers(0, len(MICROVM)), st.lists(st.tuples(st.integers(0, len(MICROVM) - 1), st.integers(0, 255)), max_size=6)
)
@settings(deadline=None, max_examples=150)
def test_any_bytes(program: Path, end: int, changes: list[tuple[int, int]]) -> None:
    """Cut anywhere, with bytes changed: no read behind the table's end, where there is no memory."""
    raw = bytearray(MICROVM)
    for at, value in changes:
        raw[at] = value
    with Harness(program) as h:
        said = Machine(dsdt=table(b"DSDT", bytes(raw[:end]))).read(h)
    for line in said:
        kind, *numbers = line.split()
        base = int(numbers[0], 16)
        assert kind in ("button", "sleep", "pci", "ioapic", "virtio")
        assert base == 0 or 0xE0000000 <= base < 1 << 32, line
