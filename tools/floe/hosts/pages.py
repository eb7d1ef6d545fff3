# SPDX-License-Identifier: MIT
"""A guest's state on its way, in which pages that were sent before stand as numbers.

QEMU's migration stream (docs/devel/migration of its sources; ram.c) has RAM first: records of 8 bytes, big endian, an
address and flags, some followed by the name of a block, some by a page. Where a page begins is found by reading that; a
stream that is otherwise carries as it is. Both ends keep the last pages, by number, and the sender knows them by their
BLAKE2b-128; the image's own pages are there from the start.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable
from pathlib import Path

from floe.hosts.line import MAX_PAYLOAD, BrokenLine

PAGE = 4096
KEPT = 16384  # pages, 64 MiB
_LITERAL, _NEW, _KNOWN = b"L", b"N", b"K"
_HEAD_OF_RAM = re.compile(rb"\x01.{4}\x03ram\x00{7}\x04", re.DOTALL)
_LONGEST_HEAD = 17
_ZERO, _MEM_SIZE, _PAGE, _EOS, _CONTINUE = 0x02, 0x04, 0x08, 0x10, 0x20  # flags of a record
_FOOTER, _PART, _LAST = 0x7E, 0x02, 0x03  # of sections
_FOOTED = 10  # bytes of a footer and the next section's head
_LOOKED_AT = 1 << 20  # bytes without RAM


def pages_of(image: Path) -> list[bytes]:
    """What of an image's file may come to lie in a page. Raises OSError."""
    content = image.read_bytes()
    return [content[at : at + PAGE] for at in range(0, len(content) - PAGE + 1, PAGE)]


class Packer:
    """The sender's side, for one stream after the other, or several."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._digests: list[bytes | None] = [None] * KEPT
        self._next = 0

    def seed(self, pages: list[bytes]) -> None:
        """The other side has these."""
        for page in pages:
            self._keep(hashlib.blake2b(page, digest_size=16).digest())

    def page(self, page: bytes) -> bytes:
        """What is sent for a page."""
        digest = hashlib.blake2b(page, digest_size=16).digest()
        number = self._numbers.get(digest)
        if number is not None:
            return _KNOWN + number.to_bytes(4, "little")
        self._keep(digest)
        return _NEW + page

    def _keep(self, digest: bytes) -> None:
        gone = self._digests[self._next]
        if gone is not None and self._numbers.get(gone) == self._next:
            del self._numbers[gone]
        self._digests[self._next] = digest
        self._numbers[digest] = self._next
        self._next = (self._next + 1) % KEPT


class Unpacker:
    """The receiver's side."""

    def __init__(self) -> None:
        self._pages: list[bytes] = [b""] * KEPT
        self._next = 0

    def seed(self, pages: list[bytes]) -> None:
        """These are known."""
        for page in pages:
            self._keep(page)

    def unpack(self, packed: bytes) -> bytes:
        """The bytes of the stream. Raises BrokenLine."""
        out = []
        at = size = 0
        while at < len(packed):
            what = packed[at : at + 1]
            if what == _NEW:
                found, at = packed[at + 1 : at + 1 + PAGE], at + 1 + PAGE
                self._keep(found)
            else:
                number = int.from_bytes(packed[at + 1 : at + 5], "little")
                at += 5
                if what == _LITERAL:
                    found, at = packed[at : at + number], at + number
                elif what == _KNOWN and number < KEPT and self._pages[number]:
                    found = self._pages[number]
                else:
                    raise BrokenLine("a state with a page that was never sent")
            out.append(found)
            size += len(found)
            if size > MAX_PAYLOAD:  # five bytes may stand for a page
                raise BrokenLine("a state that is too long for a message")
        if at != len(packed):
            raise BrokenLine("a state that ends within a page")
        return b"".join(out)

    def _keep(self, page: bytes) -> None:
        self._pages[self._next] = page
        self._next = (self._next + 1) % KEPT


class StatePacker:
    """Packs one stream."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._rest = bytearray()  # what is not read yet
        self._at = 0  # in it
        self._done = 0  # what was put out of it
        self._out: list[bytes] = []
        self._step: Callable[[], bool] = self._look
        self._passed = 0
        self._blocks = 0  # bytes of RAM whose blocks are still to be named
        self._section = b""

    def pack(self, data: bytes) -> bytes:
        """What is sent for the next bytes; some may be kept back."""
        self._rest += data
        while self._step():
            pass
        return self._flush()

    def rest(self) -> bytes:
        """The stream is over: what was kept back."""
        self._at = len(self._rest)
        return self._flush()

    # ---- steps: each reads a thing that is whole, and tells whether it was there

    def _look(self) -> bool:
        """For the beginning of RAM."""
        found = _HEAD_OF_RAM.search(self._rest, self._at)
        if found:
            self._section = bytes(self._rest[found.start() + 1 : found.start() + 5])
            self._at, self._step = found.end(), self._record
            return True
        at = max(self._at, len(self._rest) - _LONGEST_HEAD)
        self._passed += at - self._at
        self._at = at
        if self._passed > _LOOKED_AT:
            self._step = self._plain
        return False

    def _record(self) -> bool:
        if len(self._rest) - self._at < 9:
            return False
        (word,) = struct.unpack_from(">Q", self._rest, self._at)
        flags = word & (PAGE - 1)
        if flags in (_MEM_SIZE, _EOS):
            self._blocks = word - flags if flags == _MEM_SIZE else 0
            self._at += 8
            self._step = self._block if flags == _MEM_SIZE else self._footer
            return True
        if flags & ~_CONTINUE not in (_ZERO, _PAGE):
            self._step = self._plain
            return True
        head = 8 if flags & _CONTINUE else 9 + self._rest[self._at + 8]
        size = head + (PAGE if flags & _PAGE else 1)
        if len(self._rest) - self._at < size:
            return False
        self._at += head
        if flags & _PAGE:
            self._literal()
            self._out.append(self._packer.page(bytes(self._rest[self._at : self._at + PAGE])))
            self._at += PAGE
            self._done = self._at
        else:
            self._at += 1
        return True

    def _block(self) -> bool:
        if not self._blocks:
            self._step = self._record
            return True
        have = len(self._rest) - self._at
        if not have or have < (size := 9 + self._rest[self._at]):
            return False
        (length,) = struct.unpack_from(">Q", self._rest, self._at + size - 8)
        self._at += size
        self._blocks -= length
        if self._blocks < 0:
            self._step = self._plain
        return True

    def _footer(self) -> bool:
        if len(self._rest) - self._at < _FOOTED:
            return False
        head = bytes(self._rest[self._at : self._at + _FOOTED])
        ours = head[0] == _FOOTER and head[5] in (_PART, _LAST) and head[1:5] == head[6:10] == self._section
        self._at += _FOOTED if ours else 0
        self._step = self._record if ours else self._plain
        return True

    def _plain(self) -> bool:
        self._at = len(self._rest)
        return False

    # ---- what is put out

    def _literal(self) -> None:
        if count := self._at - self._done:
            self._out += [_LITERAL + count.to_bytes(4, "little"), bytes(self._rest[self._done : self._at])]
            self._done = self._at

    def _flush(self) -> bytes:
        self._literal()
        packed = b"".join(self._out)
        self._out.clear()
        del self._rest[: self._done]
        self._at = self._done = 0
        return packed
