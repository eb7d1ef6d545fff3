# SPDX-License-Identifier: MIT
"""vitals.py on a memory made here: what it reads, and that a guest that lies costs no more than one that does not."""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
from pathlib import Path

import pytest

from floe.image import vitals
from floe.image.vitals import Table, Vitals
from tests.tools.image.memory import BASE, SIZE, Memory


def table(*words: int) -> Table:
    return Table(BASE, struct.pack(f"<{len(words)}Q", *words))


FOUND = {
    "floe_gc_vitals": table(BASE + 0x100, 0, 8, 16, 32),
    "netdev_vitals": table(BASE + 0x200, 8, 40),
    "netstack_vitals": table(BASE + 0x300, 56),
}
RAM = table(*(BASE + at for at in (0xA00, 0xA80)), 16, *(BASE + at for at in (0xA88, 0xA90, 0xA98, 0xAA0)))


def test_what_is_read() -> None:
    memory = Memory()
    memory.put(BASE + 0x100, BASE + 0x140, BASE + 0x400, 2)  # next area, table, its length
    memory.put(BASE + 0x140, 0, BASE + 0x500, 1)
    memory.content[0x400:0x402] = bytes([0b11_10_01_00, 0])  # mark, tail, head, free
    memory.content[0x500] = 0b00_00_00_01
    memory.put(BASE + 0x200, BASE + 0x600, 0, BASE + 0x700)  # two cards
    memory.put(BASE + 0x628, 1, 100, 9, 2, 200)
    memory.put(BASE + 0x728, 10, 1000, 9, 20, 2000)
    memory.put(BASE + 0x300, BASE + 0x800)  # two connections
    memory.put(BASE + 0x838, BASE + 0x900)
    assert vitals.read(FOUND, memory.read) == Vitals(
        heap=12 * 32, heap_used=4 * 32, rx_frames=11, rx_bytes=1100, tx_frames=22, tx_bytes=2200, connections=2
    )
    memory.put(BASE + 0xA00, 5000, 9000, 20000, 20500)  # two regions
    # How many, beside something else; RAM; the C heap's end, now and at most; what it has elsewhere.
    memory.put(BASE + 0xA80, 2 | 7 << 32, 33000, 6000, 7000, 250)
    more = {"floe_gc_vitals": FOUND["floe_gc_vitals"], "hal_mem_vitals": RAM}
    assert vitals.read(more, memory.read) == Vitals(
        heap=12 * 32, heap_used=4 * 32, c_heap=1250, ram=33000, ram_free=2500
    )
    memory.put(BASE + 0xA90, 0, 0)  # not used yet
    assert vitals.read(more, memory.read) == Vitals(heap=12 * 32, heap_used=4 * 32, c_heap=0, ram=33000, ram_free=4500)
    memory.put(BASE + 0xA00, 5000, 9000, 20500, 20000)  # one that ends before it begins
    lied = vitals.read(more, memory.read)
    assert lied is not None and lied.ram_free == 4000
    only_heap = vitals.read({"floe_gc_vitals": FOUND["floe_gc_vitals"]}, memory.read)
    assert only_heap == Vitals(heap=12 * 32, heap_used=4 * 32)
    assert vitals.read({}, memory.read) is None


def test_lists_without_an_end() -> None:
    memory = Memory()
    memory.put(BASE + 0x100, BASE + 0x100, BASE, SIZE)
    memory.put(BASE + 0x300, BASE + 0x300)
    memory.put(BASE + 0x338, BASE + 0x300)
    found = vitals.read(FOUND, memory.read)
    assert found is not None
    assert found.connections == 8192
    assert memory.bytes < 10 * SIZE * 64


@pytest.mark.parametrize("seed", range(50))
def test_a_memory_of_chance(seed: int) -> None:
    chance = random.Random(seed)
    memory = Memory(chance.randbytes(SIZE))
    for _ in range(200):  # words that are addresses, here and there
        memory.put(BASE + chance.randrange(0, SIZE, 8), BASE + chance.randrange(SIZE))
    with contextlib.suppress(OSError):
        vitals.read(FOUND, memory.read)
    with contextlib.suppress(OSError):
        vitals.read({"floe_gc_vitals": FOUND["floe_gc_vitals"], "hal_mem_vitals": RAM}, memory.read)
    assert memory.reads < 20_000


def test_tables_of_another_form_are_none(tmp_path: Path) -> None:
    source, made = tmp_path / "a.c", tmp_path / "a.elf"
    source.write_text(
        "const unsigned long floe_gc_vitals[] = {1, 2, 3, 4, 5, 6}, netstack_vitals[] = {7, 8}, other_vitals[] = {9};\n"
        "void _start(void) {}\n"
    )
    subprocess.run(["gcc", "-nostdlib", "-static", "-o", made, source], check=True, timeout=60)
    found = vitals.tables(made)
    assert {name: table.words for name, table in found.items()} == {"netstack_vitals": (7, 8)}
    assert vitals.read(found, Memory().read) is None
    made.write_bytes(made.read_bytes()[:3000])
    assert vitals.tables(made) == {}
    assert vitals.tables(source) == {}
