# SPDX-License-Identifier: MIT
"""The table of symbols of a linked image without the names of a file's own constants and variables: it serves to name
the function of a panic, and these were a quarter of it."""

from __future__ import annotations

import struct
from pathlib import Path

_SECTION = struct.Struct("<IIQQQQIIQQ")  # name, type, flags, address, offset, size, link, info, alignment, entry size
_SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size
_SYMTAB = 2
_LOCAL_OBJECT = 1  # binding 0, type 1
FORM = "1"  # of what is done here: another one makes another image
_OWN = (b".rodata", b".data", b".bss")


def drop_own_data(path: Path) -> None:
    """Rewrite the end of the file, where GNU ld puts the tables; a file of another form stays as it is."""
    raw = path.read_bytes()
    (table,) = struct.unpack_from("<Q", raw, 0x28)
    _, count, last = struct.unpack_from("<HHH", raw, 0x3A)
    sections = [list(_SECTION.unpack_from(raw, table + i * _SECTION.size)) for i in range(count)]
    symbols = next((i for i, section in enumerate(sections) if section[1] == _SYMTAB), count)
    order = [symbols, symbols + 1, symbols + 2]
    if order[-1] != count - 1 or sections[symbols][6] != order[1] or last != order[2]:
        return
    start, texts, titles = (sections[i][4] for i in order)
    if not start < texts < titles < table or table + count * _SECTION.size != len(raw):
        return
    own = {
        i
        for i, section in enumerate(sections)
        if raw[titles + section[0] : raw.index(b"\0", titles + section[0])] in _OWN
    }
    kept = bytearray()
    names = bytearray(b"\0")
    local = 0
    for number, (name, info, other, section, value, size) in enumerate(
        _SYMBOL.iter_unpack(raw[start : start + sections[symbols][5]])
    ):
        if info == _LOCAL_OBJECT and section in own:
            continue
        text = raw[texts + name : raw.index(b"\0", texts + name) + 1]
        kept += _SYMBOL.pack(len(names) if len(text) > 1 else 0, info, other, section, value, size)
        names += text if len(text) > 1 else b""
        local += number < sections[symbols][7]
    end = raw[titles : titles + sections[order[2]][5]]
    sections[symbols][5], sections[symbols][7] = len(kept), local
    sections[order[1]][4], sections[order[1]][5] = start + len(kept), len(names)
    sections[order[2]][4] = start + len(kept) + len(names)
    body = raw[:start] + kept + names + end
    body += bytes(-len(body) % 8)
    headers = b"".join(_SECTION.pack(*section) for section in sections)
    path.write_bytes(body[:0x28] + struct.pack("<Q", len(body)) + body[0x30:] + headers)
