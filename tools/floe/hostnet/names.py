# SPDX-License-Identifier: MIT
"""A name server's answers for a handful of names: RFC 1035, 4.1. What it does not know it refuses, and the guest asks
its next server."""

from __future__ import annotations

import struct
from collections.abc import Callable

_A, _ANY, _IN = 1, 255, 1
_TTL_S = 1
_FORMAT_ERROR, _NOT_IMPLEMENTED, _REFUSED = 1, 4, 5
_HEADER = struct.Struct(">6H")
_ANSWER = struct.Struct(">HHHIH4s")
_MAX_BYTES = 512
_MAX_LABEL = 63

Lookup = Callable[[str], list[bytes] | None]  # addresses of a name, in lower case; None for one that is not ours


def answer(query: bytes, lookup: Lookup) -> bytes | None:
    """The answer to a query; None for what is none."""
    if len(query) < _HEADER.size:
        return None
    ident, flags, questions, _, _, _ = _HEADER.unpack_from(query)
    if flags & 0x8000:
        return None  # an answer
    if flags & 0x7800:
        return _made(ident, flags, _NOT_IMPLEMENTED, b"", [])
    end = _question_end(query) if questions == 1 else None
    if end is None:
        return _made(ident, flags, _FORMAT_ERROR, b"", [])
    question = query[_HEADER.size : end]
    kind, family = struct.unpack(">HH", question[-4:])
    found = lookup(_text(question[:-4])) if family in (_IN, _ANY) else None
    if found is None:
        return _made(ident, flags, _REFUSED, question, [])
    return _made(ident, flags, 0, question, found if kind in (_A, _ANY) else [])


def _question_end(query: bytes) -> int | None:
    """Where the one question ends; None where it does not, or is compressed."""
    at = _HEADER.size
    while at < len(query) and query[at]:
        if query[at] > _MAX_LABEL or at - _HEADER.size > 255:
            return None
        at += 1 + query[at]
    return at + 5 if at + 5 <= len(query) else None


def _text(name: bytes) -> str:
    labels, at = [], 0
    while name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]].decode("latin-1").lower())
        at += 1 + name[at]
    return ".".join(labels)


def _made(ident: int, flags: int, code: int, question: bytes, addresses: list[bytes]) -> bytes:
    room = (_MAX_BYTES - _HEADER.size - len(question)) // _ANSWER.size
    records = [_ANSWER.pack(0xC00C, _A, _IN, _TTL_S, 4, address) for address in addresses[:room]]
    own = 0x8000 | (0x0400 if code == 0 else 0) | (flags & 0x7900) | code  # QR, AA, and what was asked
    return _HEADER.pack(ident, own, 1 if question else 0, len(records), 0, 0) + question + b"".join(records)
