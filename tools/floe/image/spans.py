# SPDX-License-Identifier: MIT
"""What a running guest did last, read from its memory: a ring of its waits and its collections of garbage
(port/hal/spans.c), by the guest's own clock. The guest goes on meanwhile: what may be torn is not taken."""

from __future__ import annotations

import struct
from typing import NamedTuple

from floe.image import vitals
from floe.image.vitals import Read, Table

TABLE = "hal_span_vitals"
WAIT, COLLECTION = 0, 1  # hal_span_kind_t
_SPAN = struct.Struct("<2Q")
_MOST = 1 << 16


class Span(NamedTuple):
    """Nanoseconds of the guest's clock; end: 0 for one that goes on."""

    kind: int
    begin: int
    end: int


class Reader:
    """Of one guest, from now on. Raises OSError, struct.error."""

    def __init__(self, table: Table, memory: Read) -> None:
        self._read = vitals.moved(memory, vitals.up(table, memory))
        self._ring, self._count_at, size = table.words
        self._size = max(1, min(size, _MOST))
        self._seen = self._count()
        self.lost = 0  # that were overwritten before they were read

    def new(self) -> list[Span]:
        """Those that are over since the last time; behind them the one that goes on, if one does. Raises OSError,
        struct.error."""
        count = self._count()
        raw = self._read(self._ring, self._size * _SPAN.size)
        after = self._count()
        first = max(self._seen, after - self._size + 1)  # of what was not begun anew meanwhile
        self.lost += min(first, count) - self._seen
        found = [self._span(raw, number) for number in range(first, count)]
        self._seen = max(self._seen, count)
        ended, last = self._span(raw, count - 1).end, self._span(raw, count)
        if after == count and last.begin and last.begin >= ended and not last.end:  # no begin of a ring ago
            found.append(last)
        return found

    def _span(self, raw: bytes, number: int) -> Span:
        begin, end = _SPAN.unpack_from(raw, number % self._size * _SPAN.size)
        return Span(begin & 1, begin >> 1, end)

    def _count(self) -> int:
        return int(struct.unpack("<Q", self._read(self._count_at, 8))[0])
