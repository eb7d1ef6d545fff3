# SPDX-License-Identifier: MIT
"""What a running guest uses, read from its memory: no code of the guest's runs for it, whatever its script does.

The image says where its counters lie: tables of words named `..._vitals` (port/gccollect.c, port/hal/mem.c,
modules/netdev/netdev.c, modules/lwip/netstack.c). The guest goes on meanwhile, so that every value may be of another
moment, and a list may change under the reader: each walk has a bound.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from floe.image import names

Read = Callable[[int, int], bytes]  # of the guest's physical memory: address, size

_WORD = 8
_STEP = 2 << 20  # a guest sees its memory a multiple of this above where it is (port/boot/place.c)
_CODE = 64  # bytes of it that are looked for
_WORDS = {
    "floe_gc_vitals": 5,
    "floe_frame_vitals": 2,
    "hal_mem_vitals": 7,
    "hal_span_vitals": 3,
    "netdev_vitals": 3,
    "netstack_vitals": 2,
}  # in each table
_AREAS = 64  # of the heap, at most
_TABLES = 64 << 20  # bytes of their tables, at most: those of 8 GiB
_BLOCKS_PER_BYTE = 4  # two bits say of a block whether it is free (00)
_REGIONS = 64
_CARDS = 16
_CONNECTIONS = 8192


@dataclass(frozen=True)
class Table:
    """One of the image's tables. raw: as it stands in the file; in a guest each address is further up by the same."""

    address: int
    raw: bytes

    @property
    def words(self) -> tuple[int, ...]:
        return struct.unpack(f"<{len(self.raw) // _WORD}Q", self.raw)


@dataclass(frozen=True)
class Vitals:
    """Bytes, frames and bytes of all cards since the start, TCP connections; None where the image has no network, or
    does not say where it stands."""

    heap: int  # the script's, as large as it is now
    heap_used: int
    rx_frames: int | None = None
    rx_bytes: int | None = None
    tx_frames: int | None = None
    tx_bytes: int | None = None
    connections: int | None = None
    c_heap: int | None = None  # what C code has taken: packets, connections, TLS
    ram: int | None = None
    ram_free: int | None = None


def tables(path: Path) -> dict[str, Table]:
    """Those of an image, by the names of their symbols; without those that another floe's image has in another form."""
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            found = {}
            for symbol in names.read(elf):
                if symbol.size == _WORDS.get(symbol.name, -1) * _WORD:
                    place = next(iter(elf.address_offsets(symbol.value, symbol.size)), None)
                    if place is not None:
                        file.seek(place)
                        found[symbol.name] = Table(symbol.value, file.read(symbol.size))
            return found
    except (OSError, ELFError):
        return {}


def code(path: Path) -> tuple[int, bytes] | None:
    """Address and bytes of the image's first code, which are the same in each guest."""
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            place = next(iter(elf.address_offsets(elf["e_entry"], _CODE)), None)
            if place is None:
                return None
            file.seek(place)
            return elf["e_entry"], file.read(_CODE)
    except (OSError, ELFError):
        return None


def read(found: dict[str, Table], memory: Read) -> Vitals | None:
    """What a guest uses just now. None: the image does not say where that stands. Raises OSError, struct.error."""
    if "floe_gc_vitals" not in found:
        return None
    memory = moved(memory, up(found["floe_gc_vitals"], memory))
    heap, used = _heap(found["floe_gc_vitals"].words, memory)
    ram = _ram(found["hal_mem_vitals"].words, memory) if "hal_mem_vitals" in found else {}
    if "netdev_vitals" not in found:
        return Vitals(heap, used, **ram)
    cards = _cards(found["netdev_vitals"].words, memory)
    connections = _connections(found["netstack_vitals"].words, memory) if "netstack_vitals" in found else None
    return Vitals(heap, used, *cards, connections, **ram)


def up(one: Table, memory: Read) -> int:
    """How far above where it is a guest sees its memory; one's first word is an address. Raises OSError."""
    found = _word(memory, one.address) - one.words[0]
    return found if found > 0 and found % _STEP == 0 else 0


def moved(memory: Read, up: int) -> Read:
    """Memory by the addresses that the guest uses; those of the image's file stay good."""
    return lambda address, size: memory(address - up if address >= up else address, size)


def _word(memory: Read, address: int) -> int:
    return int(struct.unpack("<Q", memory(address, _WORD))[0])


def _heap(words: tuple[int, ...], memory: Read) -> tuple[int, int]:
    """Bytes, and those in use."""
    area, next_at, table_at, length_at, block = words
    heap = used = 0
    left = _TABLES
    for _ in range(_AREAS):
        if not area:
            break
        length = min(_word(memory, area + length_at), left)
        left -= length
        states = int.from_bytes(memory(_word(memory, area + table_at), length), "little")
        taken = (states | states >> 1) & int.from_bytes(b"\x55" * length, "little")
        heap += length * _BLOCKS_PER_BYTE * block
        used += taken.bit_count() * block
        area = _word(memory, area + next_at)
    return heap, used


def _ram(words: tuple[int, ...], memory: Read) -> dict[str, int]:
    """As hal_mem_sbrk_used(), hal_mem_total() and hal_mem_free() have it."""
    regions, count_at, most, total_at, now_at, peak_at, left_at = words
    count = min(struct.unpack("<I", memory(count_at, 4))[0], most, _REGIONS)
    now, peak = _word(memory, now_at), _word(memory, peak_at)
    borders = struct.unpack(f"<{2 * count}Q", memory(regions, 2 * count * _WORD))
    starts, ends = [*borders[::2]], [*borders[1::2]]
    heap = _word(memory, left_at) + max(0, now - starts[0]) if starts and now else 0
    if starts:
        starts[0] = peak or starts[0]
    free = sum(max(0, end - start) for start, end in zip(starts, ends, strict=True))
    return {"c_heap": heap, "ram": _word(memory, total_at), "ram_free": free}


def _cards(words: tuple[int, ...], memory: Read) -> tuple[int, int, int, int]:
    """Frames and bytes received, frames and bytes sent: netdev_stats_t, of all cards."""
    devices, most, stats_at = words
    total = [0, 0, 0, 0]
    for number in range(min(most, _CARDS)):
        device = _word(memory, devices + number * _WORD)
        if device:
            rx_frames, rx_bytes, _, tx_frames, tx_bytes = struct.unpack("<5Q", memory(device + stats_at, 5 * _WORD))
            total = [a + b for a, b in zip(total, (rx_frames, rx_bytes, tx_frames, tx_bytes), strict=True)]
    return total[0], total[1], total[2], total[3]


def _connections(words: tuple[int, ...], memory: Read) -> int:
    head, next_at = words
    pcb, count = _word(memory, head), 0
    while pcb and count < _CONNECTIONS:
        count += 1
        pcb = _word(memory, pcb + next_at)
    return count
