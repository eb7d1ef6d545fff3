# SPDX-License-Identifier: MIT
"""Composes what follows the question in an answer: records with compressed names, once for all that ask the same.

An answer depends on the zone, the question's type and, through compression, on how long the question's name is; its
letters do not matter where they are not in the zone. So the bytes are kept and used again: by names of the same length
in Composer.shared, where the native code finds them (modules/dns), too.
"""

import struct

import _dns
import dnsname
from rrtype import AAAA, ANY, CNAME, COMPRESSED, DNAME, DS, HINFO, NS, SOA, A
from zone import ABSENT, EXACT, REFERRAL, SUBSTITUTE, Zone

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
YXDOMAIN, NOTAUTH, BADVERS = 6, 9, 16
QUESTION = 12  # where the question begins in a message
HEAD = 8  # bytes of Answer.wire before the body: flags and numbers of records
AUTHORITATIVE = 0x0400
_POINTER = b"\xc0\x0c"  # to the question's name
_MAX_CHAIN = 16  # CNAME and DNAME records followed
_SHARED = 1024  # answers of a zone that fit several names, if nobody says otherwise
# Kinds of such answers. Both denials are their codes.
_REFERRAL, _WILDCARD = 0xFF, 0xFE
_ANY_TTL = 3600
_ANY_DATA = b"\x07RFC8482\x00"


class Answer:
    """What follows the question."""

    short: "Answer | None" = None  # the same without what may be left out, if the whole is too long
    own = False  # fits only the question for which it was made

    def __init__(self, flags: int, counts: tuple = (0, 0, 0), body: bytes = b"") -> None:
        """flags: those of the header besides QR, opcode and RD. counts: of answer, authority, additional section."""
        self.wire = struct.pack(">HHHH", flags, *counts) + body

    def flags(self) -> int:
        return self.wire[0] << 8 | self.wire[1]

    def size(self) -> int:
        """Bytes behind the question."""
        return len(self.wire) - HEAD


class Writer:
    """Writes records whose names point back to where they, or the ends of them, stand already."""

    def __init__(self, at: int) -> None:
        self.out = bytearray()
        self._start = at
        self._known: dict = {}
        self.asked = b""  # the name in the question, for owners alone: see Composer._compose()

    def point(self, name: bytes, at: int) -> None:
        """The name stands at an offset of the message."""
        i = 0
        while name[i]:
            if at + i < 0x4000:
                self._known.setdefault(name[i:], at + i)
            i += 1 + name[i]

    def _name(self, name: bytes) -> None:
        target = self._known.get(name)
        if target is not None:
            self.out.extend(struct.pack(">H", 0xC000 | target))
            return
        i = 0
        while name[i]:
            target = self._known.get(name[i:])
            if target is not None:
                break
            i += 1 + name[i]
        at = self._start + len(self.out)
        self.out.extend(name[:i])
        if name[i]:
            self.out.extend(struct.pack(">H", 0xC000 | target))
        else:
            self.out.append(0)
        known = i  # of the new labels, each is an end to point to
        i = 0
        while i < known:
            if at + i < 0x4000:
                self._known[name[i:]] = at + i
            i += 1 + name[i]

    def record(self, owner: bytes, rtype: int, ttl: int, data: bytes) -> None:
        if owner == self.asked:
            self.out.extend(_POINTER)
        else:
            self._name(owner)
        self.out.extend(struct.pack(">HHIH", rtype, 1, ttl, len(data)))
        shape = COMPRESSED.get(rtype)
        if shape is None:
            self.out.extend(data)
            return
        start = len(self.out)
        at, names = shape
        self.out.extend(data[:at])
        for _ in range(names):
            end = dnsname.skip(data, at)
            self._name(data[at:end])
            at = end
        self.out.extend(data[at:])
        struct.pack_into(">H", self.out, start - 2, len(self.out) - start)

    def rrset(self, owner: bytes, rtype: int, rrset: list) -> int:
        for i in range(1, len(rrset)):
            self.record(owner, rtype, rrset[0], rrset[i])
        return len(rrset) - 1


class Composer:
    """Composes the answers of one zone. The native code looks at `nodes` and `shared`."""

    def __init__(self, zone: Zone, zone_of: object) -> None:
        """zone_of(name, type): the zone that answers for what an alias leads to, or None (RFC 1034, section 4.3.2)."""
        self.zone = zone
        self._zone_of = zone_of
        self.nodes = zone.nodes
        _dns.widen(self.nodes)
        self.shared: dict = {}  # what shared_key() makes -> Answer
        self.room = _SHARED  # entries of `shared`

    def answer(self, name: bytes, rtype: int) -> Answer:
        """name: in lower case and in the zone."""
        node = self.nodes.get(name)
        if node is not None and rtype in node and rtype not in COMPRESSED and (NS not in node or rtype == DS):
            return _plain(rtype, node[rtype])
        kind, base, node = self.zone.find(name, rtype)
        apex = self.zone.apex
        if node is None:
            return self._share(name, rtype, shared_key(name, b"", NXDOMAIN, 0), apex)
        if kind == EXACT and rtype not in node and rtype != ANY:
            return self._share(name, rtype, shared_key(name, b"", NOERROR, 0), apex)
        if kind == REFERRAL:
            return self._share(name, rtype, shared_key(name, base, _REFERRAL, 0), base)
        if kind == ABSENT and rtype != NS and (CNAME not in node or rtype == CNAME):
            return self._share(name, rtype, shared_key(name, base, _WILDCARD, rtype), base, node)
        answer = self._compose(name, base if kind == ABSENT else name, rtype)
        answer.own = True
        return answer

    def _share(self, name: bytes, rtype: int, key: bytes, base: bytes, wildcard: dict | None = None) -> Answer:
        answer = self.shared.get(key)
        if answer is None:
            if len(self.shared) >= self.room:
                self.shared.clear()
            answer = self.shared[key] = self._compose(name, base, rtype, wildcard)
            _dns.widen(self.shared)
        return answer

    def _compose(self, name: bytes, base: bytes, rtype: int, wildcard: dict | None = None) -> Answer:
        """base: the end of the name that is also in the zone, and may be pointed to. An answer that several names
        share must not point to the whole of one of them, but for the owners that a wildcard makes."""
        writer = Writer(QUESTION + len(name) + 4)
        writer.point(base, QUESTION + len(name) - len(base))
        if wildcard is not None:
            writer.asked = name
        return _Walk(self.zone, self._zone_of, writer, rtype).run(name)


def shared_key(name: bytes, base: bytes, kind: int, rtype: int) -> bytes:
    """base: the end of the name that answers of this kind may point to; empty for denials."""
    return base + bytes([len(name), kind, rtype >> 8, rtype & 0xFF])


def _plain(rtype: int, rrset: list) -> Answer:
    """The records of the name that was asked for, if no name is in their data: by far the most are such."""
    body = b""
    for i in range(1, len(rrset)):
        body += struct.pack(">HHHIH", 0xC000 | QUESTION, rtype, 1, rrset[0], len(rrset[i])) + rrset[i]
    return Answer(AUTHORITATIVE, (len(rrset) - 1, 0, 0), body)


class _Walk:
    """One question answered: follows aliases as far as there are zones, and ends with data, a denial or a referral."""

    def __init__(self, zone: Zone, zone_of: object, writer: Writer, rtype: int) -> None:
        self.zone = zone
        self._zone_of = zone_of
        self.writer = writer
        self.rtype = rtype
        self.answers = 0

    def run(self, name: bytes) -> Answer:
        seen = []
        while True:
            if name in seen or len(seen) > _MAX_CHAIN:
                return self._answer(NOERROR, 0, 0)
            if seen:
                zone = self._zone_of(name, self.rtype)
                if zone is None:
                    return self._answer(NOERROR, 0, 0)
                self.zone = zone
            seen.append(name)
            kind, base, node = self.zone.find(name, self.rtype)
            if kind == REFERRAL:
                return self._refer(base, node)
            if kind == SUBSTITUTE:
                target = self._substitute(name, base, node[DNAME])
                if target is None:
                    return self._answer(YXDOMAIN, 0, 0)
                if self.rtype in (CNAME, ANY):
                    return self._answer(NOERROR, 0, 0)
                name = target
                continue
            if node is None:
                return self._deny(NXDOMAIN)
            if CNAME in node and self.rtype != CNAME:
                self.answers += self.writer.rrset(name, CNAME, node[CNAME])
                if self.rtype == ANY:
                    return self._answer(NOERROR, 0, 0)
                name = node[CNAME][1]
                continue
            return self._data(name, node)

    def _data(self, name: bytes, node: dict) -> Answer:
        rrset = node.get(self.rtype)
        if self.rtype == ANY and node:  # RFC 8482, section 4.2
            rrset = [_ANY_TTL, _ANY_DATA]
            self.answers += self.writer.rrset(name, HINFO, rrset)
        elif rrset is None:
            return self._deny(NOERROR)
        else:
            self.answers += self.writer.rrset(name, self.rtype, rrset)
        answer = self._answer(NOERROR, 0, 0)
        if self.rtype != NS or rrset is None:
            return answer
        whole = self._answer(NOERROR, 0, self._add_addresses(rrset))
        whole.short = answer
        return whole

    def _substitute(self, name: bytes, owner: bytes, rrset: list) -> bytes | None:
        """RFC 6672: the name that a DNAME makes of this one; None if it is too long."""
        self.answers += self.writer.rrset(owner, DNAME, rrset)
        target = name[: len(name) - len(owner)] + rrset[1]
        if len(target) > dnsname.MAX_NAME:
            return None
        self.answers += self.writer.rrset(name, CNAME, [rrset[0], target])
        return target

    def _deny(self, rcode: int) -> Answer:
        """RFC 2308: the SOA tells how long to remember that there is nothing."""
        soa = self.zone.soa()
        minimum = int.from_bytes(soa[1][-4:], "big")
        self.writer.record(self.zone.apex, SOA, min(soa[0], minimum), soa[1])
        return self._answer(rcode, 1, 0)

    def _refer(self, owner: bytes, node: dict) -> Answer:
        authority = self.writer.rrset(owner, NS, node[NS])
        additional = self._add_addresses(node[NS])
        return self._answer(NOERROR, authority, additional, AUTHORITATIVE if self.answers else 0)

    def _add_addresses(self, rrset: list) -> int:
        """The addresses of name servers, as far as the zone has them. Returns how many."""
        count = 0
        for server in rrset[1:]:
            if dnsname.is_below(server, self.zone.apex):
                addresses = self.zone.addresses(server)
                for rtype in (A, AAAA):
                    if rtype in addresses:
                        count += self.writer.rrset(server, rtype, addresses[rtype])
        return count

    def _answer(self, rcode: int, authority: int, additional: int, flags: int = AUTHORITATIVE) -> Answer:
        return Answer(flags | rcode, (self.answers, authority, additional), bytes(self.writer.out))
