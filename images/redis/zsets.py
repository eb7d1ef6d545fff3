# SPDX-License-Identifier: MIT
"""Commands on sorted sets; ranges are in zranges.py, unions and the like in zstore.py."""

import math

from chance import drawn
from number import format_float, parse_float, parse_integer
from resp import EMPTY, ZERO, CommandError, array, bulk, bulks, integer, syntax_error
from sortedset import SortedSet

_NAN = "ERR resulting score is not a number (NaN)"


def score(client: object, number: float) -> bytes:
    text = format_float(number)
    return b",%s\r\n" % text if client.resp == 3 else bulk(text)


def scored(client: object, entries: list) -> bytes:
    """Members and their scores."""
    if client.resp == 3:
        return array([b"*2\r\n" + bulk(member) + score(client, number) for number, member in entries])
    flat: list = []
    for number, member in entries:
        flat.append(bulk(member))
        flat.append(score(client, number))
    return array(flat)


def _add_options(args: list) -> tuple:
    """(words, place of the first score). Raises CommandError."""
    options: set = set()
    at = 2
    while at < len(args) and args[at].upper() in (b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"):
        options.add(args[at].upper())
        at += 1
    left = len(args) - at
    if not left or left & 1:
        raise syntax_error()
    if b"NX" in options and b"XX" in options:
        raise CommandError("ERR XX and NX options at the same time are not compatible")
    if len([word for word in (b"GT", b"LT", b"NX") if word in options]) > 1:
        raise CommandError("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in options and left > 2:
        raise CommandError("ERR INCR option supports a single increment-element pair")
    return options, at


def _wanted(options: set, old: object, number: float) -> bool:
    """Whether a member gets this score; old is None where it is not there."""
    if old is None:
        return b"XX" not in options
    return not (b"NX" in options or (b"GT" in options and number <= old) or (b"LT" in options and number >= old))


def zadd(client: object, args: list) -> bytes:
    options, at = _add_options(args)
    numbers = [parse_float(args[place]) for place in range(at, len(args), 2)]
    db = client.db
    values = db.typed(args[1], SortedSet)
    if values is None:
        if b"XX" in options:
            return client.nil if b"INCR" in options else ZERO
        values = db.made(args[1], SortedSet)
    added = changed = 0
    for place, number in enumerate(numbers):
        member = args[at + 1 + 2 * place]
        old = values.scores.get(member)
        if b"INCR" in options and old is not None:
            number += old
            if math.isnan(number):
                raise CommandError(_NAN)
        if not _wanted(options, old, number):
            number = None
        elif old is None:
            added += 1
            values.set(member, number + 0.0)  # no -0
        elif number != old:
            changed += 1
            values.set(member, number + 0.0)  # no -0
    if added or changed:
        db.touch(args[1])
    if b"INCR" in options:
        return client.nil if number is None else score(client, number)
    return integer(added + changed if b"CH" in options else added)


def zincrby(client: object, args: list) -> bytes:
    return zadd(client, [b"zadd", args[1], b"INCR", args[2], args[3]])


def zrem(client: object, args: list) -> bytes:
    values = client.db.typed(args[1], SortedSet)
    if values is None:
        return ZERO
    gone = sum([values.remove(member) for member in args[2:]])
    if gone:
        client.db.changed(args[1], values)
    return integer(gone)


def zcard(client: object, args: list) -> bytes:
    return integer(len(client.db.typed(args[1], SortedSet) or ()))


def _scores(client: object, key: bytes) -> dict:
    values = client.db.typed(key, SortedSet)
    return {} if values is None else values.scores


def zscore(client: object, args: list) -> bytes:
    number = _scores(client, args[1]).get(args[2])
    return client.nil if number is None else score(client, number)


def zmscore(client: object, args: list) -> bytes:
    scores = _scores(client, args[1])
    return array([score(client, scores[member]) if member in scores else client.nil for member in args[2:]])


def zrank(client: object, args: list) -> bytes:
    """ZRANK, ZREVRANK."""
    values = client.db.typed(args[1], SortedSet)
    if values is None or args[2] not in values.scores:
        return client.nil
    rank = values.rank_of((values.scores[args[2]], args[2]))
    return integer(rank if len(args[0]) == 5 else len(values) - 1 - rank)


def pop_entries(db: object, key: bytes, least: bool, count: int) -> list:
    """(score, member) of one end of a set that is there, the outermost first."""
    values = db.values[key]
    size = len(values)
    count = min(count, size)
    low = 0 if least else size - count
    entries = values.order[low : low + count]
    values.remove_slice(low, low + count)
    if not least:
        entries.reverse()
    db.changed(key, values)
    return entries


def zpop(client: object, args: list) -> bytes:
    """ZPOPMIN, ZPOPMAX."""
    if len(args) > 3:
        raise syntax_error()
    count = 1
    if len(args) == 3:
        problem = "ERR value is out of range, must be positive"
        count = parse_integer(args[2], problem)
        if count < 0:
            raise CommandError(problem)
    values = client.db.typed(args[1], SortedSet)
    if values is None or not count:
        return EMPTY
    entries = pop_entries(client.db, args[1], args[0][-1:] in b"nN", count)
    if client.resp == 3 and len(args) == 2:
        return array([bulk(entries[0][1]), score(client, entries[0][0])])
    return scored(client, entries)


def zrandmember(client: object, args: list) -> bytes:
    values = client.db.typed(args[1], SortedSet)
    if len(args) == 2:
        return bulk(drawn(values.order[:], 1)[0][1]) if values else client.nil
    count = parse_integer(args[2])
    if len(args) > 4 or (len(args) == 4 and args[3].upper() != b"WITHSCORES"):
        raise syntax_error()
    if not values:
        return EMPTY
    entries = drawn(values.order[:], count)
    if len(args) == 4:
        return scored(client, entries)
    return bulks([member for _, member in entries])


COMMANDS = {
    "zadd": (zadd, -4, "wm"),
    "zincrby": (zincrby, 4, "wm"),
    "zrem": (zrem, -3, "w"),
    "zcard": (zcard, 2, ""),
    "zscore": (zscore, 3, ""),
    "zmscore": (zmscore, -3, ""),
    "zrank": (zrank, 3, ""),
    "zrevrank": (zrank, 3, ""),
    "zpopmin": (zpop, -2, "w"),
    "zpopmax": (zpop, -2, "w"),
    "zrandmember": (zrandmember, -2, ""),
}
