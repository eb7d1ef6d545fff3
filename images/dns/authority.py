# SPDX-License-Identifier: MIT
"""Answers queries from the zones: a message in, a message out. No sockets.

Three ways, each tried when the one before does not know: the whole query was asked before (`known`, by UDP); its
question was (`_asked`); the message is taken apart and the zone asked. Both memories are dicts of bytes. One that is
full takes no more until make_room() has emptied it: a flood of names does not push out what is asked for.
"""

import dnsname
from compose import FORMERR, NOTIMP, REFUSED, SERVFAIL, Answer, Composer
from counts import Counts
from message import HEADER, NOTIFY, QUERY, FormatError, Query, parse
from rrtype import AXFR, DS, IXFR, SOA
from zone import Zone

_KEPT = 512  # bytes of the longest query and of the longest answer that are kept whole
_COST = 256  # bytes that an entry takes in the heap beside its own
_FEW = 8  # zones up to which a name's end is compared with each
_SHAPES = 256  # kinds of queries kept
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
        # Query without its first two bytes -> answer, of which the first two are to be set, and its cell of `counts`.
        self.known: dict = {}
        self.special = None  # special(query, udp, address): what is no ordinary query, answered as respond() does
        self.forwarder = None  # asks others for names that no zone here has
        self._memory = 1 << 20  # bytes for either of `known` and `_asked`
        self._known_size = 0
        self._asked_size = 0
        self._asked: dict = {}  # name in lower case, type and class -> Answer
        self._few: list = []  # names of zones
        self._shapes: dict = {}  # counts and what follows the question -> (largest answer by UDP, our OPT)

    # ---- zones ----------------------------------------------------------------------------------

    def put(self, name: bytes, zone: Zone | None) -> None:
        """Serve this zone from now on in the place of what had its name."""
        self.zones[name] = None if zone is None else Composer(zone)
        self._look_first()

    def drop(self, name: bytes) -> None:
        self.zones.pop(name, None)
        self._look_first()

    def _look_first(self) -> None:
        """The zones changed: list the names of them, if they are few, the longest first."""
        self._few = sorted(self.zones, key=len, reverse=True) if len(self.zones) <= _FEW else []
        self.forget()

    def use_memory(self, free: int) -> None:
        """How many bytes of the heap are free now that the zones are there: a quarter of them is for what was asked."""
        self._memory = free // 8

    def make_room(self) -> None:
        """Begin anew if there is no more room for what is asked; called now and then."""
        if self._asked_size >= self._memory or self._known_size >= self._memory:
            self.forget()

    def forget(self) -> None:
        """All that was asked."""
        self.known.clear()
        self._known_size = 0
        self._asked.clear()
        self._asked_size = 0

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

    # ---- answers --------------------------------------------------------------------------------

    def respond(self, raw: bytes, via: object, address: object) -> object:
        """The answer to a message; a generator of several; None if there is to be none, or it comes later by
        via.reply(answer, address). via.udp: whether it came by UDP."""
        if len(raw) < HEADER or raw[2] & 0x80:
            return None
        if not raw[2] & 0x78:
            answer = self._respond_quickly(raw, via.udp)
            if answer is not None:
                return answer
        return self._take_apart(raw, via, address)

    def _take_apart(self, raw: bytes, via: object, address: object) -> object:
        try:
            query = parse(raw)
        except FormatError:
            return error(raw, FORMERR if raw[2] >> 3 & 15 in (QUERY, NOTIFY) else NOTIMP)
        if query.edns > 0:
            return _finish(raw, query.end, Answer(0), (_WHOLE, query.opt(self.udp_size, 1)))  # BADVERS
        if query.opcode() == QUERY and not query.tsig_at and query.rtype not in (AXFR, IXFR):
            if self.forwarder is not None and self.find(query.name, query.rtype) is None:
                return self.forwarder.answer(query, via, address, self.refuse)
            return self.ordinary(query, via.udp)
        if self.special is not None:
            return self.special(query, via.udp, address)
        return error(raw, NOTIMP if query.opcode() != QUERY else REFUSED)

    # From here on what runs for each query that is new has few locals: the interpreter takes a frame of more than 11
    # words from the heap, and looks for it through all that is kept there.

    def _respond_quickly(self, raw: bytes, udp: bool) -> bytes | None:
        """The answer to a query that looks like an earlier one but for its question; None: take it apart."""
        end = raw.find(b"\0", HEADER) + 5
        shape = self._shape_of(raw, end)
        if shape is None:
            return None
        if not udp:
            shape = (_WHOLE, shape[1])
        return self._by_question(raw, end, shape)

    def _shape_of(self, raw: bytes, end: int) -> tuple | None:
        return self._shapes.get(raw[4:HEADER] + raw[end:])

    def _by_question(self, raw: bytes, end: int, shape: tuple) -> bytes | None:
        key = _key(raw, end)
        answer = self._asked.get(key)
        if answer is None:
            answer = self._look_up(key)
            return None if answer is None else _finish(raw, end, answer, shape)
        answer = _finish(raw, end, answer, shape)
        if shape[0] != _WHOLE:  # asked for the second time by UDP
            self._remember(raw, key, answer)
        return answer

    def _look_up(self, key: bytes) -> Answer | None:
        """The answer to a question that was not asked before, if nothing about it is out of the ordinary."""
        rtype = key[-4] << 8 | key[-3]
        if key[-2:] != b"\0\1" or rtype in (AXFR, IXFR):
            return None
        composer = self._composer(key[:-4], rtype)
        if composer is None:
            return None
        answer = composer.answer(key[:-4], rtype)
        if self._asked_size < self._memory:
            self._asked_size += len(key) + len(answer.body) + 2 * _COST
            self._asked[key] = answer
        return answer

    def _composer(self, name: bytes, rtype: int) -> Composer | None:
        """Of the zone that answers for what may be a name."""
        if rtype != DS:
            at = 0
            while at < len(self._few):
                if name.endswith(self._few[at]):
                    return self._composer_at(name, rtype, self.zones[self._few[at]])
                at += 1
        return self._composer_at(name, rtype, None)

    def _composer_at(self, name: bytes, rtype: int, guess: Composer | None) -> Composer | None:
        if guess is not None and name in guess.zone.nodes:
            return guess
        return self.zones.get(self.find(name, rtype)) if _is_name(name) else None

    def ordinary(self, query: Query, udp: bool) -> bytes:
        """The answer to a query that is well formed."""
        name = self.find(query.name, query.rtype) if query.rclass == _IN else None
        if name is None:
            return self.refuse(query, REFUSED)
        composer = self.zones[name]
        if composer is None:
            return self.refuse(query, SERVFAIL)
        answer = composer.answer(query.name, query.rtype)
        opt = query.opt(self.udp_size)
        limit = min(query.size, self.udp_size) - query.reserve
        if not query.tsig_at and not query.records:
            self._keep_shape(query.message, query.end, (limit, opt))
        return _finish(query.message, query.end, answer, (limit if udp else _WHOLE, opt))

    def refuse(self, query: Query, code: int) -> bytes:
        """An answer with nothing but a code."""
        out = _finish(query.message, query.end, Answer(code), (_WHOLE, query.opt(self.udp_size)))
        opcode = query.message[2] & 0x78
        return out[:2] + bytes([out[2] | opcode]) + out[3:] if opcode else out

    def single_soa(self, query: Query, composer: Composer, udp: bool) -> bytes:
        """The SOA of the zone that is asked about, whatever the type of the question."""
        limit = self.udp_size if udp else _WHOLE
        answer = composer.answer(query.name, SOA)
        return _finish(query.message, query.end, answer, (limit, query.opt(self.udp_size)))

    def _keep_shape(self, raw: bytes, end: int, shape: tuple) -> None:
        """Queries whose counts and whose bytes after the question are these are as well formed as this one."""
        if len(raw) - end <= 64:
            if len(self._shapes) >= _SHAPES:
                self._shapes.clear()
            self._shapes[raw[4:HEADER] + raw[end:]] = shape

    def _remember(self, raw: bytes, key: bytes, answer: bytes) -> None:
        if len(answer) > _KEPT or len(raw) > _KEPT or raw[HEADER : HEADER + len(key)] != key:
            return  # letters of mixed case seldom come twice
        if self._known_size < self._memory:
            self._known_size += len(raw) + len(answer) + _COST
            self.known[raw[2:]] = bytearray(answer), self.counts.cell(answer, 1)


def _is_name(name: bytes) -> bool:
    """Whole labels, and nothing after the last one."""
    try:
        return dnsname.skip(name, 0) == len(name)
    except (ValueError, IndexError):
        return False


def _key(raw: bytes, end: int) -> bytes:
    """The question with its name in lower case."""
    return raw[HEADER : end - 4].lower() + raw[end - 4 : end]


def _finish(raw: bytes, end: int, answer: Answer, shape: tuple) -> bytes:
    """The answer to raw, whose question ends at `end`. shape: the largest it may be, and our OPT."""
    if end + len(answer.body) + len(shape[1]) > shape[0]:
        answer = _shorten(answer, shape[0] - end - len(shape[1]))
    return raw[:2] + answer.head(raw[2] & 1 | (2 if shape[1] else 0)) + raw[HEADER:end] + answer.body + shape[1]


def _shorten(answer: Answer, room: int) -> Answer:
    """Without what may be left out, or without anything, and TC set."""
    answer = answer.short or answer
    return answer if len(answer.body) <= room else Answer(answer.flags | _TRUNCATED)


def error(raw: bytes, code: int) -> bytes:
    """An answer without a question, to what cannot be understood."""
    return raw[:2] + bytes([0x80 | raw[2] & 0x79, code]) + bytes(8)
