# SPDX-License-Identifier: MIT
"""A linked ELF, and one more read-only segment behind its others: how an application joins a ready kernel.

What is linked stays where it is, byte for byte, apart from the places that the caller patches. The new segment has
an entry in the program headers, its parts have entries in the section headers, and what is a note has a PT_NOTE.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elftools.construct import Container
from elftools.elf.elffile import ELFFile

from floe.image import names

PAGE = 4096
ALIGN = 16
_NOTE_ALIGN = 4
_PF_R = 4
_SHF_ALLOC = 2


@dataclass(frozen=True)
class Part:
    """One section of the new segment: its bytes lie at `offset` in it."""

    name: str
    offset: int
    content: bytes
    note: bool = False


class Segment:
    """A segment under construction, which will be loaded at `address`."""

    def __init__(self, address: int) -> None:
        self.address = address
        self.parts: list[Part] = []
        self._size = 0

    def add(self, name: str, content: bytes, *, note: bool = False) -> int:
        """Put a section behind the others; the address where it will be."""
        at = _up(self._size, ALIGN)
        self.parts.append(Part(name, at, content, note))
        self._size = at + len(content)
        return self.address + at

    @property
    def pages_bytes(self) -> int:
        """What it takes of memory: whole pages."""
        return _up(self._size, PAGE)

    def content(self) -> bytes:
        raw = bytearray(self._size)
        for part in self.parts:
            raw[part.offset : part.offset + len(part.content)] = part.content
        return bytes(raw)


class Kernel:
    """A linked ELF that segments can be appended to. Raises ValueError, ELFError for one that is none."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._elf: Any = ELFFile(io.BytesIO(raw))
        self._symbols = {symbol.name: symbol for symbol in names.read(self._elf)}

    def address(self, name: str) -> int:
        """Where a symbol is. Raises ValueError where it is not."""
        return self._symbol(name).value

    def size(self, name: str) -> int:
        """Bytes of what a symbol names."""
        return self._symbol(name).size

    def moved(self) -> frozenset[int]:
        """Where the words are that the linker lists as addresses (RELR), which are moved with the image."""
        listed = self._elf.get_section_by_name(".relr.dyn")
        return frozenset(int(r["r_offset"]) for r in listed.iter_relocations()) if listed is not None else frozenset()

    def read(self, address: int, count: int) -> bytes:
        """Bytes of the file as they will be in memory."""
        at = self._offset(address, count)
        return self._raw[at : at + count]

    def append(self, segment: Segment, patches: Mapping[int, bytes]) -> bytes:
        """The ELF with this segment, and with other bytes at some addresses of its own segments."""
        out = bytearray(self._raw[: self._end_of_content()])
        for address, content in patches.items():
            at = self._offset(address, len(content))
            out[at : at + len(content)] = content
        at = _up(len(out), PAGE)
        out += bytes(at - len(out)) + segment.content()
        titles = bytearray(self._elf.get_section(self._elf["e_shstrndx"]).data())
        headers = [section.header for section in self._elf.iter_sections()]
        for part in segment.parts:
            headers.append(self._section(part, segment, at, len(titles)))
            titles += part.name.encode() + b"\0"
        table = headers[self._elf["e_shstrndx"]]
        table.sh_offset, table.sh_size = len(out), len(titles)
        out += titles
        out += bytes(-len(out) % 8)
        programs = [p.header for p in self._elf.iter_segments()] + list(self._programs(segment, at))
        self._write_headers(out, programs, headers)
        return bytes(out)

    def _write_headers(self, out: bytearray, programs: Sequence[Any], sections: Sequence[Any]) -> None:
        structs = self._elf.structs
        header = self._elf.header
        packed = b"".join(structs.Elf_Phdr.build(p) for p in programs)
        first = min(p["p_offset"] for p in programs if p["p_type"] == "PT_LOAD")
        if header["e_phoff"] + len(packed) > first:
            raise ValueError(f"no room for {len(programs)} program headers")
        out[header["e_phoff"] : header["e_phoff"] + len(packed)] = packed
        header["e_phnum"], header["e_shnum"], header["e_shoff"] = len(programs), len(sections), len(out)
        out += b"".join(structs.Elf_Shdr.build(s) for s in sections)
        packed = structs.Elf_Ehdr.build(header)
        out[: len(packed)] = packed

    def _end_of_content(self) -> int:
        """Where the section names and the section headers begin, which a linker writes last."""
        last = self._elf["e_shstrndx"]
        return max(
            int(s["sh_offset"] + s["sh_size"])
            for number, s in enumerate(self._elf.iter_sections())
            if number != last and s["sh_type"] not in ("SHT_NULL", "SHT_NOBITS")
        )

    def _section(self, part: Part, segment: Segment, file_at: int, name_at: int) -> Any:
        return Container(
            sh_name=name_at,
            sh_type="SHT_NOTE" if part.note else "SHT_PROGBITS",
            sh_flags=_SHF_ALLOC,
            sh_addr=segment.address + part.offset,
            sh_offset=file_at + part.offset,
            sh_size=len(part.content),
            sh_link=0,
            sh_info=0,
            sh_addralign=_NOTE_ALIGN if part.note else ALIGN,
            sh_entsize=0,
        )

    def _programs(self, segment: Segment, file_at: int) -> Any:
        size = len(segment.content())
        yield _program("PT_LOAD", segment.address, file_at, size, PAGE, segment.pages_bytes)
        for part in segment.parts:
            if part.note:
                size = len(part.content)
                yield _program("PT_NOTE", segment.address + part.offset, file_at + part.offset, size, _NOTE_ALIGN, size)

    def _symbol(self, name: str) -> names.Symbol:
        if name not in self._symbols:
            raise ValueError(f"the kernel has no symbol {name}")
        return self._symbols[name]

    def _offset(self, address: int, count: int) -> int:
        for p in self._elf.iter_segments():
            if p["p_type"] == "PT_LOAD" and p["p_paddr"] <= address <= p["p_paddr"] + p["p_filesz"] - count:
                return int(p["p_offset"] + address - p["p_paddr"])
        raise ValueError(f"{count} bytes at {address:#x} are not in the file")


def _program(kind: str, address: int, offset: int, size: int, align: int, memory: int) -> Any:
    return Container(
        p_type=kind,
        p_flags=_PF_R,
        p_offset=offset,
        p_vaddr=address,
        p_paddr=address,
        p_filesz=size,
        p_memsz=memory,
        p_align=align,
    )


def _up(value: int, align: int) -> int:
    return (value + align - 1) // align * align
