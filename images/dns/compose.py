# SPDX-License-Identifier: MIT
"""Composes what follows the question in an answer: records with compressed names, once for all that ask the same.

An answer depends on the zone, the question's type and, through compression, on how long the question's name is; its
letters do not matter where they are not in the zone. So the bytes are kept and used again.
"""

import struct

import dnsname
from rrtype import AAAA, ANY, CNAME, COMPRESSED, DNAME, DS, HINFO, NS, SOA, A
from zone import ABSENT, ALIAS, EXACT, REFERRAL, SUBSTITUTE, Zone

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
YXDOMAIN, NOTAUTH, BADVERS = 6, 9, 16
QUESTION = 12  # where the question begins in a message
AUTHORITATIVE = 0x0400
_POINTER = b"\xc0\x0c"  # to the question's name
_MAX_CHAIN = 16  # CNAME and DNAME records followed
_SHARED = 1024  # answers of a zone that fit several names
_ANY_TTL = 3600
_ANY_DATA = b"\x07RFC8482\x00"


class Answer:
    """What follows the question. `flags` are those of the header besides QR, opcode and RD."""

    def __init__(self, flags: int, counts: tuple = (0, 0, 0), body: bytes = b"") -> None:
        self.flags = flags
        self.counts = counts  # of answer, authority and additional section
        self.body = body
        self.short: Answer | None = None  # the same without what may be left out, if the whole is too long
        self._heads: list = [None] * 4

    def head(self, kind: int) -> bytes:
        """The header behind the id, of an answer to an ordinary query. kind: 1 if recursion is desired, plus 2 if our
        OPT comes at the end."""
        return self._heads[kind] or self._make_head(kind)

    def _make_head(self, kind: int) -> bytes:
        answers, authority, additional = self.counts
        flags = 0x8000 | self.flags | (kind & 1) << 8
        self._heads[kind] = struct.pack(">HHHHH", flags, 1, answers, authority, additional + (kind >> 1))
        return self._heads[kind]


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
    """Composes the answers of one zone."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._shared: dict = {}  # (kind, node's name, length of the question's name, type) -> Answer

    def answer(self, name: bytes, rtype: int) -> Answer:
        """name: in lower case and in the zone."""
        node = self.zone.nodes.get(name)
        if node is not None and rtype in node and rtype not in COMPRESSED and (NS not in node or rtype == DS):
            return _plain(rtype, node[rtype])
        node = self.zone.find(name, rtype)
        return self._by_kind(name, rtype, node)

    def _by_kind(self, name: bytes, rtype: int, found: tuple) -> Answer:
        """found: see Zone.find()."""
        if found[2] is None:
            return self._denial(name, rtype, NXDOMAIN)
        if found[0] == EXACT and rtype not in found[2] and rtype != ANY:
            return self._denial(name, rtype, NOERROR)
        return self._with_data(name, rtype, found)

    def _denial(self, name: bytes, rtype: int, code: int) -> Answer:
        key = (code, len(name), 0)
        return self._shared.get(key) or self._new_denial(key, name, rtype)

    def _new_denial(self, key: tuple, name: bytes, rtype: int) -> Answer:
        return self._shared_answer(key, name, rtype, (EXACT, self.zone.apex, None))

    def _with_data(self, name: bytes, rtype: int, found: tuple) -> Answer:
        kind, base, node = found
        if kind in (EXACT, ALIAS, SUBSTITUTE):
            return self._compose(name, name, rtype)
        if kind == ABSENT and (rtype == NS or (CNAME in node and rtype != CNAME)):
            return self._compose(name, base, rtype)
        key = (base, len(name), rtype if kind == ABSENT else -1)
        return self._shared_answer(key, name, rtype, found)

    def _shared_answer(self, key: tuple, name: bytes, rtype: int, found: tuple) -> Answer:
        answer = self._shared.get(key)
        if answer is None:
            if len(self._shared) >= _SHARED:
                self._shared.clear()
            wildcard = found[2] if found[0] == ABSENT else None
            answer = self._shared[key] = self._compose(name, found[1], rtype, wildcard)
        return answer

    def _compose(self, name: bytes, base: bytes, rtype: int, wildcard: dict | None = None) -> Answer:
        """base: the end of the name that is also in the zone, and may be pointed to. An answer that several names
        share must not point to the whole of one of them, but for the owners that a wildcard makes."""
        writer = Writer(QUESTION + len(name) + 4)
        writer.point(base, QUESTION + len(name) - len(base))
        if wildcard is not None:
            writer.asked = name
        return _Walk(self.zone, writer, rtype).run(name)


def _plain(rtype: int, rrset: list) -> Answer:
    """The records of the name that was asked for, if no name is in their data: by far the most are such."""
    body = b""
    for i in range(1, len(rrset)):
        body += struct.pack(">HHHIH", 0xC000 | QUESTION, rtype, 1, rrset[0], len(rrset[i])) + rrset[i]
    return Answer(AUTHORITATIVE, (len(rrset) - 1, 0, 0), body)


class _Walk:
    """One question answered: follows aliases in the zone and ends with data, a denial or a referral."""

    def __init__(self, zone: Zone, writer: Writer, rtype: int) -> None:
        self.zone = zone
        self.writer = writer
        self.rtype = rtype
        self.answers = 0

    def run(self, name: bytes) -> Answer:
        seen = []
        while True:
            if name in seen or len(seen) > _MAX_CHAIN:
                return self._answer(NOERROR, 0, 0)
            seen.append(name)
            if not dnsname.is_below(name, self.zone.apex):
                return self._answer(NOERROR, 0, 0)
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
