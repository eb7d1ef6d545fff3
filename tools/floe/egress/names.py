# SPDX-License-Identifier: MIT
"""A name server's answers for a guest that knows few names (RFC 1035, RFC 3596). Nothing of a question goes further."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from socket import AF_INET, AF_INET6

_HEADER = struct.Struct(">6H")
_RESPONSE, _OPCODE, _AUTHORITATIVE, _WANTS_RECURSION, _RECURSES = 0x8000, 0x7800, 0x0400, 0x0100, 0x0080
_FORMAT_ERROR, _NOT_IMPLEMENTED, _REFUSED = 1, 4, 5
_IN, _A, _AAAA = 1, 1, 28
_FAMILIES = {_A: AF_INET, _AAAA: AF_INET6}
TTL_S = 60
_MOST = 12  # addresses in an answer: with the longest name all of them are within 512 bytes
_LONGEST = 253


class BadQuery(ValueError):
    """Not a question that could be answered."""


def question(query: bytes) -> tuple[str, int, int]:
    """The name asked for, in lower case, its type, and where the question ends. Raises BadQuery."""
    if len(query) < _HEADER.size:
        raise BadQuery("shorter than a header")
    _, flags, count, *_ = _HEADER.unpack_from(query)
    if flags & _RESPONSE or count != 1:
        raise BadQuery("not one question")
    labels: list[str] = []
    at = _HEADER.size
    try:
        while size := query[at]:
            label = query[at + 1 : at + 1 + size]
            if size > 63 or len(label) < size:
                raise BadQuery("a label that is none")
            labels.append(label.decode("ascii", "backslashreplace").lower())
            at += 1 + size
        kind, of_class = struct.unpack_from(">HH", query, at + 1)
    except (IndexError, struct.error):
        raise BadQuery("cut off") from None
    if at - _HEADER.size > _LONGEST + 1 or of_class != _IN:
        raise BadQuery("too long, or of another class")
    return ".".join(labels), kind, at + 5


def answer(query: bytes, lookup: Callable[[str], Sequence[tuple[int, bytes]] | None]) -> bytes | None:
    """The answer to a query, None for what deserves none. lookup: family and address, for each address of a name; None
    for a name that is refused."""
    if len(query) < _HEADER.size:
        return None
    ident, flags, *_ = _HEADER.unpack_from(query)
    if flags & _RESPONSE:
        return None
    told = _RESPONSE | flags & (_OPCODE | _WANTS_RECURSION) | _RECURSES
    if flags & _OPCODE:
        return _HEADER.pack(ident, told | _NOT_IMPLEMENTED, 0, 0, 0, 0)
    try:
        name, kind, end = question(query)
    except BadQuery:
        return _HEADER.pack(ident, told | _FORMAT_ERROR, 0, 0, 0, 0)
    asked = query[_HEADER.size : end]
    found = lookup(name)
    if found is None:
        return _HEADER.pack(ident, told | _REFUSED, 1, 0, 0, 0) + asked
    addresses = [address for family, address in found if family == _FAMILIES.get(kind)][:_MOST]
    head = _HEADER.pack(ident, told | _AUTHORITATIVE, 1, len(addresses), 0, 0)
    record = struct.Struct(">HHHIH")
    answers = [record.pack(0xC000 | _HEADER.size, kind, _IN, TTL_S, len(a)) + a for a in addresses]
    return head + asked + b"".join(answers)
