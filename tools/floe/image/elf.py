# SPDX-License-Identifier: MIT
"""Is this ELF an image that floe boots, and what is in it?

Checked: ELF64 for x86-64, whole; a PVH note ("Xen", type 18: Xen's xen/include/public/elfnote.h) whose 32-bit
entry lies in an executable segment; no segment writable and executable; Floe's own notes, with the digest
of every other byte of the file. Anything else is refused. The few headers (gABI, chapters 4 and 5) are read here:
pyelftools takes longer to load than all the rest of a start.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Annotated, Any, Literal

import msgspec

from floe.errors import ImageRefused, NotFound

PVH_NOTE = ("Xen", 18)
CONTENT_NOTE = ("Floe", 1)  # JSON: what is inside
DIGEST_NOTE = ("Floe", 2)  # SHA-256 of the file with these 32 bytes as zeros
DIGEST_BYTES = 32
MAX_BYTES = 2 << 30  # it is loaded below 3 GiB (port/README.md)
_PF_X, _PF_W, _PF_R = 1, 2, 4
_EI_CLASS, _EI_DATA = 4, 5
_CLASSES = {1: "32-bit", 2: "64-bit"}
_ORDERS = {1: "little-endian", 2: "big-endian"}
_CLASS_64, _LITTLE_ENDIAN, _EM_X86_64, _ET_EXEC = 2, 1, 62, 2
_TYPES = {0: "ET_NONE", 1: "ET_REL", 2: "ET_EXEC", 3: "ET_DYN", 4: "ET_CORE"}
_PT_LOAD, _PT_NOTE = 1, 4
_SHN_XINDEX = 0xFFFF
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")  # type, flags, offset, virtual and physical address, file and memory size, align
_SECTION = struct.Struct("<IIQQQQIIQQ")  # name, type, flags, address, offset, size, link, info, align, entry size


@dataclass(frozen=True)
class Segment:
    """One PT_LOAD. address: physical; sizes in bytes; protection: "r-x"."""

    address: int
    file_bytes: int
    memory_bytes: int
    protection: str


class _File(msgspec.Struct):
    name: str
    origin: str
    mpy_bytes: int
    sha256: str


class _Part(msgspec.Struct):
    name: str
    version: str
    licence: str
    sha256: str = ""
    patches: list[str] = []


class _Content(msgspec.Struct):
    """What the JSON of a note must be before anything reads it: who wrote it is not known."""

    format: Literal[1]
    floe: str
    name: str
    version: str
    profile: Literal["sealed", "dev"]
    compiler: bool
    main: str
    memory: Annotated[int, msgspec.Meta(gt=0)]
    modules: list[str]
    drivers: list[str]
    frozen: list[_File]
    data: dict[str, int]
    packages: list[_Part]
    upstream: list[_Part]
    secrets: list[str] = []
    child_secrets: list[str] = []
    kernel: str = ""  # the ready kernel it is on; "": it is linked


@dataclass(frozen=True)
class Image:
    """A checked image. content: the JSON of its note (build/description.py)."""

    path: Path
    size: int
    entry: int
    segments: tuple[Segment, ...]
    sections: dict[str, int]
    content: dict[str, Any]


@dataclass(frozen=True)
class _Program:
    """One program header."""

    kind: int
    flags: int
    offset: int
    address: int  # physical
    file_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class _Note:
    owner: str
    kind: int
    offset: int  # of the descriptor, in the file
    data: bytes


def read(path: Path) -> Image:
    """Read and check an image. Raises NotFound, or ImageRefused that says what is wrong with it."""
    try:
        status = path.stat()
        size = status.st_size
        if not S_ISREG(status.st_mode) and not S_ISDIR(status.st_mode):  # it may have no end, or none to write it
            raise _refused(path, "it is no regular file")
        if size > MAX_BYTES:
            raise _refused(path, f"it has {size} bytes; an image has at most {MAX_BYTES >> 20} MiB")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None
    except OSError as e:
        raise NotFound(f"cannot read {path}: {e.strerror}") from e
    if raw[:4] != b"\x7fELF":
        raise _refused(path, "it is no ELF file")
    try:
        return _read(path, raw)
    except (ValueError, LookupError, ArithmeticError, struct.error) as e:
        raise _refused(path, "its ELF structure is damaged or cut short", f"{type(e).__name__}: {e}") from e


def notes(content: bytes) -> bytes:
    """Both of Floe's notes for a file that is yet to be sealed."""
    return _note(CONTENT_NOTE, content) + _note(DIGEST_NOTE, bytes(DIGEST_BYTES))


def _note(which: tuple[str, int], content: bytes) -> bytes:
    owner = which[0].encode() + b"\0"
    words = struct.pack("<III", len(owner), len(content), which[1])
    return words + owner + bytes(-len(owner) % 4) + content + bytes(-len(content) % 4)


def seal(path: Path) -> None:
    """Write the digest into a freshly linked image. Raises ImageRefused when it has no room for it."""
    raw = bytearray(path.read_bytes())
    note = _find(list(_notes(_programs(bytes(raw)), bytes(raw))), DIGEST_NOTE)
    if note is None or len(note.data) != DIGEST_BYTES:
        raise _refused(path, "it has no digest note")
    raw[note.offset : note.offset + DIGEST_BYTES] = _digest(bytes(raw), note)
    path.write_bytes(raw)


def _refused(path: Path, why: str, evidence: str = "") -> ImageRefused:
    return ImageRefused(f"{path} is not an image that floe boots: {why}", evidence=evidence, hint="floe build APP")


def _read(path: Path, raw: bytes) -> Image:
    for place, wanted, names in ((_EI_CLASS, _CLASS_64, _CLASSES), (_EI_DATA, _LITTLE_ENDIAN, _ORDERS)):
        if (found := raw[place]) != wanted:  # all that follows has another shape then
            if found not in names:
                raise ValueError(f"byte {place} of the header is {found}")
            raise _refused(path, f"it is a {names[found]} ELF, not a 64-bit x86 executable")
    _, kind, machine, *_ = _HEADER.unpack_from(raw)
    if (machine, kind) != (_EM_X86_64, _ET_EXEC):
        what = f"{_TYPES.get(kind, kind)} for machine {machine}"
        raise _refused(path, f"it is {what}, not a 64-bit x86 executable")
    programs = _programs(raw)
    segments = tuple(_segments(path, raw, programs))
    notes = list(_notes(programs, raw))
    entry = _entry(path, notes, segments)
    content = _find(notes, CONTENT_NOTE)
    stamp = _find(notes, DIGEST_NOTE)
    if content is None or stamp is None or len(stamp.data) != DIGEST_BYTES:
        raise _refused(path, "it holds no Floe note: floe did not build it")
    if stamp.data != _digest(raw, stamp):
        raise _refused(path, "its bytes are not those that floe linked", "the digest in its Floe note differs")
    return Image(path, len(raw), entry, segments, _sections(raw), _content(path, content.data))


def _programs(raw: bytes) -> list[_Program]:
    """The program headers. Raises struct.error, ValueError."""
    _, _, _, _, _, at, _, _, _, size, count, *_ = _HEADER.unpack_from(raw)
    if count and size != _PROGRAM.size:
        raise ValueError(f"a program header of {size} bytes")
    headers = (_PROGRAM.unpack_from(raw, at + i * size) for i in range(count))
    return [_Program(kind, flags, offset, to, file, memory) for kind, flags, offset, _, to, file, memory, _ in headers]


def _sections(raw: bytes) -> dict[str, int]:
    """Bytes of each section that has some, by its name. Raises struct.error, ValueError, IndexError."""
    _, _, _, _, _, _, at, _, _, _, _, size, count, names = _HEADER.unpack_from(raw)
    if not count:
        return {}
    if size != _SECTION.size or names == _SHN_XINDEX:
        raise ValueError(f"{count} section headers of {size} bytes, names in {names}")
    headers = [_SECTION.unpack_from(raw, at + i * size) for i in range(count)]
    text = raw[headers[names][4] : headers[names][4] + headers[names][5]]
    found = [(text[h[0] : text.index(b"\0", h[0])].decode("utf-8", "replace"), h[5]) for h in headers]
    return {name: held for name, held in found if name and held}


def _content(path: Path, data: bytes) -> dict[str, Any]:
    try:
        msgspec.json.decode(data, type=_Content)
        return dict(json.loads(data))
    except (msgspec.DecodeError, ValueError, RecursionError) as e:
        raise _refused(path, "its Floe note is none that this floe reads", f"{type(e).__name__}: {e}") from e


def _segments(path: Path, raw: bytes, programs: list[_Program]) -> Iterator[Segment]:
    loads = [p for p in programs if p.kind == _PT_LOAD]
    if not loads:
        raise _refused(path, "it has nothing to load")
    for p in loads:
        protection = "".join(c if p.flags & bit else "-" for c, bit in (("r", _PF_R), ("w", _PF_W), ("x", _PF_X)))
        place = f"segment at {p.address:#x}"
        if p.flags & _PF_W and p.flags & _PF_X:
            raise _refused(path, f"its {place} is writable and executable")
        if p.offset + p.file_bytes > len(raw):
            raise _refused(path, f"its {place} ends beyond the end of the file: the file is cut short")
        if p.file_bytes > p.memory_bytes:
            raise _refused(path, f"its {place} is larger in the file than in memory")
        yield Segment(p.address, p.file_bytes, p.memory_bytes, protection)


def _entry(path: Path, notes: list[_Note], segments: tuple[Segment, ...]) -> int:
    note = _find(notes, PVH_NOTE)
    if note is None:
        raise _refused(path, "it has no PVH note")
    if len(note.data) not in (4, 8):
        raise _refused(path, f"its PVH note holds {len(note.data)} bytes, not an address")
    entry = int.from_bytes(note.data, "little")
    inside = [s for s in segments if s.address <= entry < s.address + s.file_bytes]
    if entry >= 1 << 32 or not inside or not inside[0].protection.endswith("x"):
        raise _refused(path, f"its PVH entry {entry:#x} is in no executable segment")
    return entry


def _notes(programs: list[_Program], raw: bytes) -> Iterator[_Note]:
    """Every note of the PT_NOTE segments (gABI: three 32-bit words, owner and descriptor padded to 4)."""
    for p in programs:
        if p.kind != _PT_NOTE:
            continue
        at, end = p.offset, min(p.offset + p.file_bytes, len(raw))
        while at + 12 <= end:
            owner_size, size, kind = struct.unpack_from("<III", raw, at)
            data_at = at + 12 + (owner_size + 3 & ~3)
            if data_at + size > end:
                return
            owner = raw[at + 12 : at + 12 + owner_size].rstrip(b"\0").decode("latin-1")
            yield _Note(owner, kind, data_at, raw[data_at : data_at + size])
            at = data_at + (size + 3 & ~3)


def _find(notes: list[_Note], which: tuple[str, int]) -> _Note | None:
    return next((note for note in notes if (note.owner, note.kind) == which), None)


def _digest(raw: bytes, note: _Note) -> bytes:
    h = hashlib.sha256(raw[: note.offset])
    h.update(bytes(DIGEST_BYTES))
    h.update(raw[note.offset + DIGEST_BYTES :])
    return h.digest()
