# SPDX-License-Identifier: MIT
"""A disk with a GUID partition table (UEFI Specification 2.10, clause 5.3), as bytes. The same GUIDs each time: they
are made of a digest."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

SECTOR = 512
ALIGNMENT = 2048  # sectors: 1 MiB, the block of whatever storage lies below
FIRST = ALIGNMENT  # of the first partition
BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
EFI_SYSTEM = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_ENTRIES, _ENTRY = 128, 128  # as many, bytes of one
_TABLE = _ENTRIES * _ENTRY // SECTOR  # sectors
_PROTECTIVE = 0xEE
_MARK = b"Floe"  # in place of a disk's number: frozen/lib/_disks.py leaves alone what it booted from


@dataclass(frozen=True)
class Partition:
    """sectors: from `start`, both in sectors; the name has 36 characters at most."""

    kind: UUID
    name: str
    start: int
    sectors: int


def lay_out(partitions: Sequence[tuple[UUID, str, int]]) -> tuple[list[Partition], int]:
    """Kind, name and bytes of each, one behind the other; and the sectors of a disk that has them and both tables."""
    found: list[Partition] = []
    at = FIRST
    for kind, name, size in partitions:
        sectors = -(-size // SECTOR)
        found.append(Partition(kind, name, at, sectors))
        at += -(-sectors // ALIGNMENT) * ALIGNMENT
    return found, at + ALIGNMENT


def tables(partitions: Sequence[Partition], disk: int, digest: bytes, boot_code: bytes = b"") -> tuple[bytes, bytes]:
    """What stands before the first partition, from the protective MBR on, and what ends a disk of that many sectors.
    digest: 32 bytes that tell this disk from others; boot_code: for a BIOS, 440 bytes at most."""
    entries = b"".join(
        struct.pack("<16s16sQQQ72s", p.kind.bytes_le, _guid(digest, i + 1).bytes_le, p.start,
                    p.start + p.sectors - 1, 0, p.name.encode("utf-16-le"))
        for i, p in enumerate(partitions)
    ).ljust(_ENTRIES * _ENTRY, b"\0")  # fmt: skip

    def header(mine: int, other: int, table: int) -> bytes:
        fields = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, mine, other, 2 + _TABLE,
                             disk - _TABLE - 2, _guid(digest, 0).bytes_le, table, _ENTRIES, _ENTRY,
                             zlib.crc32(entries))  # fmt: skip
        return (fields[:16] + struct.pack("<I", zlib.crc32(fields)) + fields[20:]).ljust(SECTOR, b"\0")

    first = _protective(disk, boot_code) + header(1, disk - 1, 2) + entries
    return first, entries + header(disk - 1, 1, disk - 1 - _TABLE)


def _protective(disk: int, boot_code: bytes) -> bytes:
    sectors = min(disk - 1, 0xFFFFFFFF)
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", _PROTECTIVE, b"\xff\xff\xff", 1, sectors)
    return boot_code.ljust(440, b"\0") + _MARK + bytes(2) + entry + bytes(48) + b"\x55\xaa"


def _guid(digest: bytes, number: int) -> UUID:
    """Version 8 of RFC 9562: 122 bits of our own making."""
    raw = bytearray(digest[:16])
    raw[15] ^= number
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return UUID(bytes=bytes(raw))
