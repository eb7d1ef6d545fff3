# SPDX-License-Identifier: MIT
"""A guest's memory, made here, for what reads it."""

from __future__ import annotations

import struct

BASE, SIZE = 0x100000, 1 << 16


class Memory:
    """A guest's memory of 64 KiB."""

    def __init__(self, content: bytes = bytes(SIZE)) -> None:
        self.content = bytearray(content)
        self.reads = 0
        self.bytes = 0

    def put(self, address: int, *words: int) -> None:
        struct.pack_into(f"<{len(words)}Q", self.content, address - BASE, *words)

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        self.bytes += size
        if not BASE <= address <= BASE + SIZE - size:
            raise OSError(address)
        return bytes(self.content[address - BASE : address - BASE + size])
