# SPDX-License-Identifier: MIT
"""Answers queries from the zones: a message in, a message out. No sockets.

Ordinary queries are answered by native code (modules/dns), which finds what it can in `tables`. What it cannot comes
here, is taken apart, and its answer is put where the native code finds it the next time. A memory that is full takes no
more until make_room() has emptied it: a flood of names does not push out what is asked for.
"""

import _dns
import dnsname
from compose import FORMERR, HEAD, NOERROR, NOTIMP, REFUSED, SERVFAIL, Answer, Composer
from counts import Counts
from message import HEADER, NOTIFY, QUERY, FormatError, Query, parse
from rrtype import AXFR, DS, IXFR, SOA
from zone import Zone

_COST = 512  # bytes that a kept answer takes in the heap beside its own
_FEWEST = 256  # shared answers of a zone
_TRUNCATED = 0x0200
_IN = 1
_WHOLE = 65535  # bytes of an answer by TCP


class Authority:
    """The zones by name, and what was asked of them. A zone without data (a secondary's, before its first transfer, or
    one whose file is broken) is None: the answer is SERVFAIL."""

    def __init__(self, udp_size: int = 1232) -> None:
        self.udp_size = udp_size  # the largest answer by UDP
        self.zones: dict = {}  # name -> Composer, or None
        self.counts = Counts()
        self.special = None  # special(query, udp, address): what is no ordinary query, answered as respond() does
        self.forwarder = None  # asks others for names that no zone here has
        self._memory = 1 << 20  # bytes for `_asked`, and for what zones share
        self._asked_size = 0
        self._asked: dict = {}  # name in lower case, type and class -> Answer
        self.tables = (self.zones, self._asked, udp_size)

    # ---- zones ----------------------------------------------------------------------------------

    def put(self, name: bytes, zone: Zone | None) -> None:
        """Serve this zone from now on in the place of what had its name."""
        self.zones[name] = None if zone is None else Composer(zone, self._zone_of)
        self._share_memory()
        self.forget()

    def drop(self, name: bytes) -> None:
        self.zones.pop(name, None)
        self.forget()

    def use_memory(self, free: int) -> None:
        """How many bytes of the heap are free now that the zones are there: a quarter of them is for what was asked."""
        self._memory = free // 8
        self._share_memory()

    def _share_memory(self) -> None:
        for composer in self.zones.values():
            if composer is not None:
                composer.room = max(_FEWEST, self._memory // _COST // len(self.zones))

    def make_room(self) -> None:
        """Begin anew if there is no more room for what is asked; called now and then."""
        if self._asked_size >= self._memory:
            self.forget()

    def forget(self) -> None:
        """All that was asked."""
        self._asked.clear()
        self._asked_size = 0
        for composer in self.zones.values():
            if composer is not None:
                composer.shared.clear()

    def find(self, name: bytes, rtype: int) -> bytes | None:
        """The name of the zone that answers for a name. A DS stands in the parent's zone."""
        zones = self.zones
        if rtype == DS and name in zones:
            above = name
            while above != dnsname.ROOT:
                above = dnsname.parent(above)
                if above in zones:
                    return above
        while name not in zones:
            if name == dnsname.ROOT:
                return None
            name = dnsname.parent(name)
        return name

    def kept(self) -> int:
        """Answers that are ready."""
        return len(self._asked) + sum([len(zone.shared) for zone in self.zones.values() if zone is not None])

    def _zone_of(self, name: bytes, rtype: int) -> Zone | None:
        """Where an alias leads to."""
        composer = self.zones.get(self.find(name, rtype))
        return None if composer is None else composer.zone

    # ---- answers --------------------------------------------------------------------------------

    def respond(self, raw: bytes, via: object, address: object) -> object:
        """The answer to a message; a generator of several; None if there is to be none, or it comes later by
        via.reply(answer, address). via.udp: whether it came by UDP."""
        return _dns.answer(self.tables, raw, via.udp) or self.take_apart(raw, via, address)

    def take_apart(self, raw: bytes, via: object, address: object) -> object:
        """As respond(), of what the native code has no answer to."""
        if len(raw) < HEADER or raw[2] & 0x80:
            return None
        known = raw[2] >> 3 & 15 in (QUERY, NOTIFY)
        try:
            query = parse(raw)
        except FormatError:
            return error(raw, FORMERR if known else NOTIMP)
        if query.edns > 0 and known:
            return self.refuse(query, NOERROR, 1)  # BADVERS
        if query.opcode() == QUERY and not query.tsig_at and query.rtype not in (AXFR, IXFR):
            if self.forwarder is not None and self.find(query.name, query.rtype) is None:
                return self.forwarder.answer(query, via, address, self.refuse)
            return self.ordinary(query, via.udp)
        if self.special is not None:
            return self.special(query, via.udp, address)
        return error(raw, REFUSED if known else NOTIMP)

    def ordinary(self, query: Query, udp: bool) -> bytes:
        """The answer to a query that is well formed."""
        name = self.find(query.name, query.rtype) if query.rclass == _IN else None
        if name is None:
            return self.refuse(query, REFUSED)
        composer = self.zones[name]
        if composer is None:
            return self.refuse(query, SERVFAIL)
        answer = composer.answer(query.name, query.rtype)
        if answer.own or query.rtype == DS:
            self._keep(query, answer)
        limit = min(query.size, self.udp_size) - query.reserve
        return _finish(query.message, query.end, answer, (limit if udp else _WHOLE, query.opt(self.udp_size)))

    def _keep(self, query: Query, answer: Answer) -> None:
        key = query.name + query.message[query.end - 4 : query.end]
        if self._asked_size < self._memory and key not in self._asked:
            self._asked_size += len(key) + answer.size() + _COST
            self._asked[key] = answer
            _dns.widen(self._asked)

    def refuse(self, query: Query, code: int, extended: int = 0) -> bytes:
        """An answer with nothing but a code. extended: its upper eight bits."""
        out = _finish(query.message, query.end, Answer(code), (_WHOLE, query.opt(self.udp_size, extended)))
        opcode = query.message[2] & 0x78
        return out[:2] + bytes([out[2] | opcode]) + out[3:] if opcode else out

    def single_soa(self, query: Query, composer: Composer, udp: bool) -> bytes:
        """The SOA of the zone that is asked about, whatever the type of the question."""
        limit = self.udp_size if udp else _WHOLE
        answer = composer.answer(query.name, SOA)
        return _finish(query.message, query.end, answer, (limit, query.opt(self.udp_size)))


def _finish(raw: bytes, end: int, answer: Answer, shape: tuple) -> bytes:
    """The answer to raw, whose question ends at `end`. shape: the largest it may be, and our OPT."""
    limit, opt = shape
    if end + answer.size() + len(opt) > limit:
        answer = _shorten(answer, limit - end - len(opt))
    wire = answer.wire
    additional = int.from_bytes(wire[6:HEAD], "big") + (1 if opt else 0)
    flags = bytes([0x80 | wire[0] | raw[2] & 1, wire[1], 0, 1])
    return b"".join((raw[:2], flags, wire[2:6], additional.to_bytes(2, "big"), raw[HEADER:end], wire[HEAD:], opt))


def _shorten(answer: Answer, room: int) -> Answer:
    """Without what may be left out, or without anything, and TC set."""
    answer = answer.short or answer
    return answer if answer.size() <= room else Answer(answer.flags() | _TRUNCATED)


def error(raw: bytes, code: int) -> bytes:
    """An answer without a question, to what cannot be understood."""
    return raw[:2] + bytes([0x80 | raw[2] & 0x79, code]) + bytes(8)
