# SPDX-License-Identifier: MIT
"""The partition table of a boot disk, read back field by field; tests/boot/test_bootdisk.py has firmware read it."""

from __future__ import annotations

import struct
import zlib
from uuid import UUID

from floe.bootdisk import gpt

DIGEST = bytes(range(32))
WANTED = [(gpt.BIOS_BOOT, "BIOS", 100_000), (gpt.EFI_SYSTEM, "EFI", 3 << 20)]


def header(raw: bytes) -> dict[str, int | bytes]:
    names = ("magic", "revision", "size", "crc", "zero", "mine", "other", "first", "last", "guid", "table", "entries",
             "each", "table_crc")  # fmt: skip
    told = dict(zip(names, struct.unpack_from("<8sIIIIQQQQ16sQIII", raw), strict=True))
    assert told["crc"] == zlib.crc32(raw[:16] + bytes(4) + raw[20:92])
    return told


def test_both_tables_say_the_same() -> None:
    partitions, sectors = gpt.lay_out(WANTED)
    first, last = gpt.tables(partitions, sectors, DIGEST, b"boot code")
    assert sectors % gpt.ALIGNMENT == 0
    assert (first[:9], first[510:512]) == (b"boot code", b"\x55\xaa")
    assert struct.unpack_from("<B3xB3xII", first, 446) == (0, 0xEE, 1, sectors - 1)
    assert (first[440:446], any(first[462:510])) == (b"Floe\0\0", False)
    entries = first[1024:]
    assert entries == last[:-512]
    one, other = header(first[512:1024]), header(last[-512:])
    assert (one["mine"], one["other"], one["table"]) == (1, sectors - 1, 2)
    assert (other["mine"], other["other"], other["table"]) == (sectors - 1, 1, sectors - 33)
    for told in (one, other):
        assert (told["magic"], told["revision"], told["size"]) == (b"EFI PART", 0x10000, 92)
        assert (told["first"], told["last"], told["entries"], told["each"]) == (34, sectors - 34, 128, 128)
        assert told["table_crc"] == zlib.crc32(entries)
        assert told["guid"] == one["guid"]


def test_partitions_begin_on_whole_mib_and_do_not_overlap() -> None:
    (bios, efi), sectors = gpt.lay_out(WANTED)
    assert (bios.start, bios.sectors) == (2048, 196)
    assert (efi.start, efi.sectors) == (4096, 6144)
    assert sectors == 4096 + 6144 + 2048
    raw = gpt.tables([bios, efi], sectors, DIGEST)[0][1024:]
    kinds = [UUID(bytes_le=raw[i : i + 16]) for i in (0, 128)]
    assert kinds == [gpt.BIOS_BOOT, gpt.EFI_SYSTEM]
    assert struct.unpack_from("<QQQ", raw, 32) == (2048, 2048 + 195, 0)
    assert raw[56:128].decode("utf-16-le").rstrip("\0") == "BIOS"


def test_names_of_partitions_follow_from_the_digest() -> None:
    partitions, sectors = gpt.lay_out(WANTED)

    def guids(digest: bytes) -> list[UUID]:
        first = gpt.tables(partitions, sectors, digest)[0]
        return [UUID(bytes_le=first[at : at + 16]) for at in (512 + 56, 1024 + 16, 1024 + 128 + 16)]

    one = guids(DIGEST)
    assert one == guids(DIGEST)
    assert len({*one, *guids(bytes(32))}) == 6
    assert {(u.version, u.variant) for u in one} == {(8, "specified in RFC 4122")}
