# SPDX-License-Identifier: MIT
"""Zone transfers out (RFC 5936): a whole zone as messages, each made when the one before has left."""

import struct

from compose import AUTHORITATIVE, QUESTION, Writer
from tsig import Key, sign
from zone import Zone

_FULL = 16000  # bytes of a message after which the next begins; offsets of compression end at 16383


def messages(query: bytes, end: int, zone: Zone, key: Key | None, mac: bytes) -> object:
    """Yields the answer to a query for all of the zone. end: of its question. With a key, signed."""
    flags = struct.pack(">H", 0x8000 | AUTHORITATIVE | (query[2] & 1) << 8)
    question = query[QUESTION:end]
    later = False
    writer = Writer(end)
    writer.point(zone.apex, QUESTION)
    count = 0
    for owner, rtype, ttl, data in zone.records():
        if count and len(writer.out) + len(data) > _FULL:
            message, mac = _message(query[:2] + flags, question, count, writer, (key, mac, later))
            yield message
            later = True
            question = b""
            writer = Writer(QUESTION)
            count = 0
        writer.record(owner, rtype, ttl, data)
        count += 1
    yield _message(query[:2] + flags, question, count, writer, (key, mac, later))[0]


def _message(head: bytes, question: bytes, count: int, writer: Writer, signing: tuple) -> tuple:
    counts = struct.pack(">HHHH", 1 if question else 0, count, 0, 0)
    message = b"".join((head, counts, question, bytes(writer.out)))
    key, mac, later = signing
    return sign(message, key, mac, later) if key is not None else (message, b"")
