# SPDX-License-Identifier: MIT
"""Every write and flush that reached a disk, recorded by QEMU (driver blklogwrites, in the format of Linux's
dm-log-writes), and the disks that a crash could have left of them."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
_MAGIC = 0x6A736677736872
_FLUSH, _DISCARD = 1, 4


@dataclass(frozen=True)
class Entry:
    """One write (`data`), or a flush (`data` is None)."""

    at: int = 0
    data: bytes | None = None


def blockdev(disk: Path, log: Path, index: int = 0) -> str:
    """The value of QEMU's -blockdev for a disk whose writes are recorded."""
    log.write_bytes(b"")
    return json.dumps(
        {
            "driver": "blklogwrites",
            "node-name": f"disk{index}",
            "log-sector-size": SECTOR,
            "file": {"driver": "file", "filename": str(disk)},
            "log": {"driver": "file", "filename": str(log)},
        }
    )


def read(log: Path) -> list[Entry]:
    """The entries of a log, in the order in which they were done."""
    raw = log.read_bytes()
    magic, version, count, sector = struct.unpack_from("<QQQI", raw)
    assert (magic, version, sector) == (_MAGIC, 1, SECTOR)
    at, entries = sector, []
    for _ in range(count):
        first, sectors, flags, _ = struct.unpack_from("<QQQQ", raw, at)
        at += sector
        assert not flags & _DISCARD
        if flags & _FLUSH:
            entries.append(Entry())
        if sectors:
            entries.append(Entry(first * SECTOR, raw[at : at + sectors * SECTOR]))
            at += sectors * SECTOR
    assert at <= len(raw)
    return entries


def crashes(
    entries: list[Entry], size: int, rng: random.Random, *, each: int, honour: bool = True
) -> Iterator[tuple[int, bytes]]:
    """(flushes that were done, what is on the disk) for crashes at random moments: after each flush, `each` times, any
    of the writes since are there, in any order, torn at any sector. Without `honour` flushes mean nothing: any of
    the last few writes before them may be missing too."""
    durable = bytearray(size)
    flushes = 0
    since: list[Entry] = []
    late: list[Entry] = []  # what a disk that ignores flushes still holds back
    for number, entry in enumerate((*entries, Entry())):
        if entry.data is not None:
            since.append(entry)
            continue
        for _ in range(each):
            image = bytearray(durable)
            pending = late + since[: rng.randint(0, len(since))]
            for write in rng.sample(pending, rng.randint(0, len(pending))):
                _apply(image, write, rng)
            yield flushes, bytes(image)
        if number < len(entries):
            flushes += 1
            held = late + since
            keep = 0 if honour else min(len(held), 6)
            for write in held[: len(held) - keep]:
                durable[write.at : write.at + len(write.data or b"")] = write.data or b""
            late = held[len(held) - keep :]
            since = []


def _apply(image: bytearray, write: Entry, rng: random.Random) -> None:
    data = write.data or b""
    if rng.random() < 0.3:  # torn: any of its sectors
        for at in range(0, len(data), SECTOR):
            if rng.random() < 0.5:
                image[write.at + at : write.at + at + SECTOR] = data[at : at + SECTOR]
    else:
        image[write.at : write.at + len(data)] = data
