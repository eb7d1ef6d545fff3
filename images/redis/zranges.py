# SPDX-License-Identifier: MIT
"""Ranges of sorted sets: by rank, by score, by the order of bytes."""

from lists import bounds
from number import parse_float, parse_integer
from resp import ZERO, CommandError, bulks, integer, syntax_error
from sortedset import SortedSet
from zsets import scored

_NOT_SCORES = "ERR min or max is not a float"
_NOT_LEX = "ERR min or max not valid string range item"


def _by_score(values: SortedSet, least: bytes, most: bytes) -> tuple:
    """(first rank, rank behind the last)."""
    low, low_open = _score_end(least)
    high, high_open = _score_end(most)
    if low > high or (low == high and (low_open or high_open)):
        return 0, 0
    first = values.first_not((lambda entry: entry[0] <= low) if low_open else (lambda entry: entry[0] < low))
    return first, values.first_not((lambda entry: entry[0] < high) if high_open else (lambda entry: entry[0] <= high))


def _score_end(text: bytes) -> tuple:
    """(score, whether it is left out itself)."""
    left_out = text[:1] == b"("
    return parse_float(text[1:] if left_out else text, _NOT_SCORES), left_out


def _by_lex(values: SortedSet, least: bytes, most: bytes) -> tuple:
    _check_lex(least)
    _check_lex(most)
    first = _lex_rank(values, least, False)
    return first, max(_lex_rank(values, most, True), first)


def _check_lex(text: bytes) -> None:
    if text[:1] not in (b"[", b"(") and text not in (b"-", b"+"):
        raise CommandError(_NOT_LEX)


def _lex_rank(values: SortedSet, text: bytes, last: bool) -> int:
    """Where the range begins, or (last) ends."""
    if text == b"-":
        return 0
    if text == b"+":
        return len(values)
    member = text[1:]
    if (text[:1] == b"[") == last:
        return values.first_not(lambda entry: entry[1] <= member)
    return values.first_not(lambda entry: entry[1] < member)


_KINDS = {b"BYSCORE": _by_score, b"BYLEX": _by_lex}


class Range:
    """What of a sorted set a command asks for: `args` from the place of the ends on."""

    def __init__(self, kind: object, reverse: bool, ends: list) -> None:
        self.kind = kind  # a function, or None: by rank
        self.reverse = reverse
        self.least, self.most = ends
        self.offset = 0
        self.limit = -1
        self.with_scores = False

    def options(self, words: list, allowed: tuple) -> None:
        """Those behind the ends. Raises CommandError."""
        at = 0
        limited = False
        while at < len(words):
            word = words[at].upper()
            if word not in allowed:
                raise syntax_error()
            if word == b"LIMIT":
                if at + 2 >= len(words):
                    raise syntax_error()
                self.offset = parse_integer(words[at + 1])
                self.limit = parse_integer(words[at + 2])
                limited = True
                at += 2
            elif word == b"WITHSCORES":
                self.with_scores = True
            elif word == b"REV":
                self.reverse = True
            else:
                self.kind = _KINDS[word]
            at += 1
        if b"BYLEX" not in allowed:
            return
        if limited and self.kind is None:
            raise CommandError("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
        if self.with_scores and self.kind is _by_lex:
            raise CommandError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")

    def check(self) -> None:
        """Of the ends, before the key is looked at. Raises CommandError."""
        self.entries(SortedSet())

    def entries(self, values: SortedSet) -> list:
        """(score, member) in the order asked for. Raises CommandError."""
        size = len(values)
        least, most = self.least, self.most
        if self.kind is None:
            low, high = bounds(parse_integer(least), parse_integer(most), size)
            if self.reverse:
                low, high = size - high, size - low
            found = values.order[low:high] if low < high else []
        else:
            if self.reverse:
                least, most = most, least
            low, high = self.kind(values, least, most)
            found = values.order[low:high]
        if self.reverse:
            found.reverse()
        if self.kind is None:
            return found
        if self.offset < 0:
            return []
        found = found[self.offset :] if self.offset else found
        return found if self.limit < 0 else found[: self.limit]


_ALL = (b"BYSCORE", b"BYLEX", b"REV", b"LIMIT", b"WITHSCORES")
_SCORES = (b"LIMIT", b"WITHSCORES")
_FORMS = {
    b"zrange": (None, False, _ALL),
    b"zrevrange": (None, True, (b"WITHSCORES",)),
    b"zrangebyscore": (_by_score, False, _SCORES),
    b"zrevrangebyscore": (_by_score, True, _SCORES),
    b"zrangebylex": (_by_lex, False, (b"LIMIT",)),
    b"zrevrangebylex": (_by_lex, True, (b"LIMIT",)),
}


def zrange(client: object, args: list) -> bytes:
    """ZRANGE, ZREVRANGE, ZRANGEBYSCORE, ZREVRANGEBYSCORE, ZRANGEBYLEX, ZREVRANGEBYLEX."""
    kind, reverse, allowed = _FORMS[args[0].lower()]
    wanted = Range(kind, reverse, args[2:4])
    wanted.options(args[4:], allowed)
    wanted.check()
    values = client.db.typed(args[1], SortedSet)
    entries = wanted.entries(values) if values is not None else []
    if wanted.with_scores:
        return scored(client, entries)
    return bulks([member for _, member in entries])


def zrangestore(client: object, args: list) -> bytes:
    wanted = Range(None, False, args[3:5])
    wanted.options(args[5:], _ALL[:4])
    wanted.check()
    values = client.db.typed(args[2], SortedSet)
    store(client.db, args[1], wanted.entries(values) if values is not None else [])
    return integer(len(client.db.values.get(args[1], ())))


def store(db: object, key: bytes, entries: list) -> None:
    """A new sorted set of (score, member); none if there are none."""
    if not entries:
        db.remove(key)
        return
    result = SortedSet()
    for number, member in entries:
        result.scores[member] = number + 0.0  # no -0
    result.order = sorted([(number, member) for member, number in result.scores.items()])
    db.put(key, result)


_COUNTS = {b"zcount": _by_score, b"zlexcount": _by_lex}


def zcount(client: object, args: list) -> bytes:
    """ZCOUNT, ZLEXCOUNT."""
    kind = _COUNTS[args[0].lower()]
    kind(SortedSet(), args[2], args[3])
    values = client.db.typed(args[1], SortedSet)
    low, high = kind(values, args[2], args[3]) if values is not None else (0, 0)
    return integer(high - low)


_REMOVALS = {b"zremrangebyrank": None, b"zremrangebyscore": _by_score, b"zremrangebylex": _by_lex}


def zremrange(client: object, args: list) -> bytes:
    """ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX."""
    kind = _REMOVALS[args[0].lower()]
    Range(kind, False, args[2:4]).check()
    values = client.db.typed(args[1], SortedSet)
    if values is None:
        return ZERO
    if kind is None:
        low, high = bounds(parse_integer(args[2]), parse_integer(args[3]), len(values))
    else:
        low, high = kind(values, args[2], args[3])
    gone = values.remove_slice(low, high)
    if gone:
        client.db.changed(args[1], values)
    return integer(gone)


COMMANDS = {
    "zrange": (zrange, -4, ""),
    "zrevrange": (zrange, -4, ""),
    "zrangebyscore": (zrange, -4, ""),
    "zrevrangebyscore": (zrange, -4, ""),
    "zrangebylex": (zrange, -4, ""),
    "zrevrangebylex": (zrange, -4, ""),
    "zrangestore": (zrangestore, -5, "wm"),
    "zcount": (zcount, 4, ""),
    "zlexcount": (zcount, 4, ""),
    "zremrangebyrank": (zremrange, 4, "w"),
    "zremrangebyscore": (zremrange, 4, "w"),
    "zremrangebylex": (zremrange, 4, "w"),
}
