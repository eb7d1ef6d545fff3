# SPDX-License-Identifier: MIT
"""The names of a linked image: they serve to name the function of a panic, and to find what is looked for in a guest.

They are a seventh of an image as GNU ld writes them, and a 28th as distributions keep them for GDB: as an ELF of its
own with nothing but the table of symbols, xz-compressed, in section .gnu_debugdata ("MiniDebugInfo" in GDB's manual).
"""

from __future__ import annotations

import io
import lzma
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

SECTION = ".gnu_debugdata"
FORM = "2"  # of what pack() does: another one makes another image
MAX_BYTES = 16 << 20  # of the names when they are unpacked: who wrote them is not known
_HEADER = struct.Struct("<IIQQQQIIQQ")  # name, type, flags, address, offset, size, link, info, alignment, entry size
_SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size
_ELF_BYTES = 64
_PROGBITS, _SYMTAB, _NOBITS, _NULL = 1, 2, 8, 0
_FILE = 4  # type of a symbol, in the lower four bits of info; the upper ones are its binding, 0: local
_LOCAL_OBJECT = 1
_OWN = (b".rodata", b".data", b".bss")
# Written down, since a preset may be another one in another liblzma. The dictionary holds all of it.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}]


@dataclass(frozen=True)
class Symbol:
    """kind: "STT_FUNC" or another of the gABI; section: a number of a section, "SHN_UNDEF", "SHN_ABS"."""

    name: str
    value: int
    size: int
    kind: str
    binding: str
    section: int | str


def read(elf: ELFFile) -> list[Symbol]:
    """The names of an image, or of any other ELF; none where there is no table. Raises ELFError."""
    from elftools.common.exceptions import ELFError  # late: pack() does without
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile

    packed = elf.get_section_by_name(SECTION)
    if packed is None:
        return _listed(elf)
    try:
        content = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=64 << 20).decompress(packed.data(), MAX_BYTES)
        return _listed(ELFFile(io.BytesIO(content)))
    except (lzma.LZMAError, EOFError, ConstructError, ValueError, LookupError, AttributeError, TypeError) as e:
        # pyelftools lets what a damaged file does to its parser through as it comes.
        raise ELFError(f"its names are damaged: {e}") from e


def _listed(elf: ELFFile) -> list[Symbol]:
    from elftools.elf.sections import SymbolTableSection

    table: Any = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return []
    return [
        Symbol(s.name, s["st_value"], s["st_size"], s["st_info"]["type"], s["st_info"]["bind"], s["st_shndx"])
        for s in table.iter_symbols()
    ]


class _Linked:
    """A linked file whose last sections are the tables of symbols, of their names, and of the sections' names."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        (self.headers_at,) = struct.unpack_from("<Q", raw, 0x28)
        _, count, last = struct.unpack_from("<HHH", raw, 0x3A)
        self.sections = [list(_HEADER.unpack_from(raw, self.headers_at + i * _HEADER.size)) for i in range(count)]
        table = next((i for i, section in enumerate(self.sections) if section[1] == _SYMTAB), count)
        self.is_so = (
            table + 3 == count
            and last == count - 1
            and self.sections[table][6] == table + 1
            and _ELF_BYTES <= self.sections[-3][4] < self.sections[-2][4] < self.sections[-1][4] < self.headers_at
            and self.headers_at + count * _HEADER.size == len(raw)
        )

    def content(self, section: int) -> bytes:
        at, size = self.sections[section][4:6]
        return self.raw[at : at + size]

    def title(self, section: int) -> bytes:
        return _text(self.content(-1), self.sections[section][0])


def pack(path: Path) -> None:
    """Rewrite the end of a file that GNU ld has just linked; one of another form stays as it is. Left out is what
    nobody asks for: names of source files, and of a file's own constants and variables."""
    linked = _Linked(path.read_bytes())
    if not linked.is_so:
        return
    table, locals_ = _table(linked)
    packed = lzma.compress(_alone(linked, *table, locals_), lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=_FILTERS)
    kept, start = linked.sections[:-3], linked.sections[-3][4]
    titles = [*map(linked.title, range(len(kept))), SECTION.encode(), b".shstrtab"]
    kept += [[0, _PROGBITS, 0, 0, start, len(packed), 0, 0, 1, 0], [*linked.sections[-1]]]
    body = linked.raw[:start] + packed
    kept[-1][4] = len(body)
    path.write_bytes(_closed(body, kept, titles))


def _table(linked: _Linked) -> tuple[tuple[bytes, bytes], int]:
    """Symbols and names, in the order of their addresses, since so they are half as long when they are packed. And
    how many of them are local ones, which stand first."""
    own = {i for i in range(len(linked.sections)) if linked.title(i) in _OWN}
    names = linked.content(-2)
    rows = [
        (info >> 4 > 0, value, _text(names, name), info, other, section, size)
        for name, info, other, section, value, size in list(_SYMBOL.iter_unpack(linked.content(-3)))[1:]
        if info & 15 != _FILE and not (info == _LOCAL_OBJECT and section in own)
    ]
    table, texts = bytearray(_SYMBOL.size), bytearray(b"\0")
    places: dict[bytes, int] = {}
    for _, value, name, info, other, section, size in sorted(rows):
        if name not in places:
            places[name] = len(texts)
            texts += name + b"\0"
        table += _SYMBOL.pack(places[name], info, other, section, value, size)
    return (bytes(table), bytes(texts)), 1 + sum(not row[0] for row in rows)


def _alone(linked: _Linked, table: bytes, names: bytes, locals_: int) -> bytes:
    """An ELF of the sections' headers, with no content but the symbols': a symbol names its section by number."""
    sections = [
        [*section[:1], _NOBITS if section[1] != _NULL else _NULL, *section[2:4], _ELF_BYTES, *section[5:]]
        for section in linked.sections
    ]
    head = bytearray(linked.raw[:_ELF_BYTES])
    struct.pack_into("<Q", head, 0x20, 0)  # no program headers
    struct.pack_into("<H", head, 0x38, 0)
    sections[-3] = [*linked.sections[-3]]
    sections[-3][4:8] = _ELF_BYTES, len(table), len(sections) - 2, locals_
    sections[-2] = [*linked.sections[-2]]
    sections[-2][4:6] = _ELF_BYTES + len(table), len(names)
    sections[-1] = [*linked.sections[-1]]
    body = bytes(head) + table + names
    sections[-1][4] = len(body)
    return _closed(body, sections, [*map(linked.title, range(len(sections)))])


def _closed(body: bytes, sections: list[list[int]], titles: list[bytes]) -> bytes:
    """A file with the sections' names, which its last section is, and their headers behind its content."""
    names = bytearray()
    for section, title in zip(sections, titles, strict=True):
        section[0] = len(names)
        names += title + b"\0"
    sections[-1][5] = len(names)
    body += names
    body += bytes(-len(body) % 8)
    head = bytearray(body[:_ELF_BYTES])
    struct.pack_into("<Q", head, 0x28, len(body))
    struct.pack_into("<HH", head, 0x3C, len(sections), len(sections) - 1)
    return bytes(head) + body[_ELF_BYTES:] + b"".join(_HEADER.pack(*section) for section in sections)


def _text(table: bytes, at: int) -> bytes:
    return table[at : table.index(b"\0", at)]
