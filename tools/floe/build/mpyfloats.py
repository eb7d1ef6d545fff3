# SPDX-License-Identifier: MIT
"""Float constants in .mpy files (format: upstream's py/persistentcode.c), for the interpreter to take bit by bit.

A .mpy file has them as decimal text, which the interpreter in an image does not read to the last bit as a compiler
does. Here each becomes "x" and the 64 bits in hexadecimal, which port/ready.c knows.
"""

from __future__ import annotations

import struct

HEADER_BYTES = 4
_TYPE_TUPLE, _TYPE_STR, _TYPE_BYTES, _TYPE_FLOAT, _TYPE_COMPLEX = 10, 5, 6, 8, 9
_TYPES_WITHOUT_DATA = range(5)


def exact(mpy: bytes) -> bytes:
    """The same module with its float constants as bits. Raises ValueError for what is no .mpy file."""
    if mpy[:1] != b"M":
        raise ValueError("no .mpy file")
    try:
        return _Rewriter(mpy).run()
    except IndexError:
        raise ValueError("a .mpy file that is cut short") from None


class _Rewriter:
    """Copies what it reads; constants stand before all code, so that the rest is copied as it is."""

    def __init__(self, mpy: bytes) -> None:
        self._mpy = mpy
        self._at = 0
        self._out = bytearray()

    def run(self) -> bytes:
        self._copy(HEADER_BYTES)
        strings, objects = self._copy_number(), self._copy_number()
        for _ in range(strings):
            length = self._copy_number()
            if not length & 1:  # an odd one is the number of a string that every interpreter has
                self._copy((length >> 1) + 1)
        for _ in range(objects):
            self._object()
        return bytes(self._out) + self._mpy[self._at :]

    def _object(self) -> None:
        kind = self._mpy[self._at]
        self._copy(1)
        if kind in _TYPES_WITHOUT_DATA:
            return
        if kind == _TYPE_TUPLE:
            for _ in range(self._copy_number()):
                self._object()
        elif kind in (_TYPE_FLOAT, _TYPE_COMPLEX):
            size = self._number()
            text = self._mpy[self._at : self._at + size].decode("ascii")
            self._at += size
            bits = "x" + struct.pack(">d", float(text.removesuffix("j"))).hex()
            self._out += bytes([len(bits)]) + bits.encode()
        else:
            ends_with_zero = kind in (_TYPE_STR, _TYPE_BYTES)
            self._copy(self._copy_number() + ends_with_zero)

    def _number(self) -> int:
        value = 0
        while True:
            byte = self._mpy[self._at]
            self._at += 1
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                return value

    def _copy_number(self) -> int:
        start = self._at
        value = self._number()
        self._out += self._mpy[start : self._at]
        return value

    def _copy(self, count: int) -> None:
        if self._at + count > len(self._mpy):
            raise IndexError
        self._out += self._mpy[self._at : self._at + count]
        self._at += count
