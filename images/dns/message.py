# SPDX-License-Identifier: MIT
"""What a query asks, as far as it has to be looked at record by record: EDNS (RFC 6891) and TSIG (RFC 8945)."""

import struct

import dnsname
from rrtype import OPT, TSIG

HEADER = 12
MIN_UDP = 512
QUERY, NOTIFY, UPDATE = 0, 4, 5


class FormatError(ValueError):
    """The message is not one."""


class Query:
    """One message that asks."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.name = dnsname.ROOT  # in lower case
        self.rtype = 0
        self.rclass = 0
        self.end = HEADER  # of the question
        self.edns = -1  # version; -1: none
        self.size = MIN_UDP  # the largest answer the client takes by UDP
        self.dnssec_ok = False
        self.reserve = 0  # bytes of the answer that its signature takes
        self.tsig_at = 0  # where the TSIG record begins
        self.records: list = []  # of a notification: (section, owner, type, ttl, data's place, its size)

    def opcode(self) -> int:
        return self.message[2] >> 3 & 15

    def opt(self, udp_size: int, extended: int = 0) -> bytes:
        """Our OPT record, if the query has one. extended: the upper eight bits of the code of the answer."""
        if self.edns < 0:
            return b""
        flags = 0x8000 if self.dnssec_ok else 0
        return struct.pack(">BHHBBHH", 0, OPT, udp_size, extended, 0, flags, 0)


def parse(message: bytes) -> Query:
    """The message has a whole header. Raises FormatError."""
    query = Query(message)
    try:
        questions, answers, authority, additional = struct.unpack_from(">HHHH", message, 4)
        if questions != 1:
            raise FormatError("%d questions" % questions)
        at = dnsname.skip(message, HEADER)
        query.name = message[HEADER:at].lower()
        query.rtype, query.rclass = struct.unpack_from(">HH", message, at)
        at = query.end = at + 4
        for section, count in enumerate((answers, authority, additional)):
            for _ in range(count):
                at = _record(query, section, at)
        if at != len(message):
            raise FormatError("bytes after the last record")
    except (ValueError, IndexError):
        raise FormatError("malformed")
    return query


def _record(query: Query, section: int, at: int) -> int:
    message = query.message
    if query.tsig_at:
        raise FormatError("a record after the signature")
    owner, start = dnsname.read(message, at)
    if start + 10 > len(message):
        raise FormatError("a record is cut off")
    rtype, rclass, ttl, size = struct.unpack_from(">HHIH", message, start)
    start += 10
    if start + size > len(message):
        raise FormatError("data is cut off")
    if rtype == OPT:
        if section != 2 or owner != dnsname.ROOT or query.edns >= 0:
            raise FormatError("a misplaced OPT")
        query.edns = ttl >> 16 & 0xFF
        query.size = max(MIN_UDP, rclass)
        query.dnssec_ok = bool(ttl & 0x8000)
        _check_options(message, start, start + size)
    elif rtype == TSIG:
        if section != 2:
            raise FormatError("a misplaced TSIG")
        query.tsig_at = at
    else:
        query.records.append((section, owner, rtype, ttl, start, size))
    return start + size


def _check_options(message: bytes, at: int, end: int) -> None:
    while at < end:
        if at + 4 > end:
            raise FormatError("an option is cut off")
        at += 4 + (message[at + 2] << 8 | message[at + 3])
    if at != end:
        raise FormatError("an option is cut off")
