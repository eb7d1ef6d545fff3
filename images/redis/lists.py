# SPDX-License-Identifier: MIT
"""Commands on lists that do not wait."""

from number import parse_integer
from resp import EMPTY, NO_KEY, OK, ZERO, CommandError, bulk, bulks, integer, syntax_error

_NOT_POSITIVE = "ERR value is out of range, must be positive"


def rpush(client: object, args: list) -> bytes:
    """RPUSH, RPUSHX."""
    values = _pushed_to(client, args)
    if values is None:
        return ZERO
    values.extend(args[2:])
    client.db.touch(args[1])
    return integer(len(values))


def lpush(client: object, args: list) -> bytes:
    """LPUSH, LPUSHX."""
    values = _pushed_to(client, args)
    if values is None:
        return ZERO
    for value in args[2:]:
        values.insert(0, value)
    client.db.touch(args[1])
    return integer(len(values))


def _pushed_to(client: object, args: list) -> object:
    if len(args[0]) == 6:  # LPUSHX, RPUSHX
        return client.db.typed(args[1], list)
    return client.db.made(args[1], list)


def pop(client: object, args: list) -> bytes:
    """LPOP, RPOP."""
    first = args[0][:1] in b"lL"
    count = None
    if len(args) > 2:
        count = parse_integer(args[2], _NOT_POSITIVE)
        if count < 0:
            raise CommandError(_NOT_POSITIVE)
    values = client.db.typed(args[1], list)
    if values is None:
        return client.nil if count is None else client.nil_array
    if count is None:
        value = values.pop(0 if first else -1)
        client.db.changed(args[1], values)
        return bulk(value)
    if not count:
        return EMPTY
    return bulks(take(client.db, args[1], first, count))


def take(db: object, key: bytes, first: bool, count: int) -> list:
    """Elements of one end of a list that is there, the outermost first."""
    values = db.values[key]
    if first:
        taken = values[:count]
        values[:count] = []
    else:
        taken = values[-count:]
        values[-count:] = []
        taken.reverse()
    db.changed(key, values)
    return taken


def llen(client: object, args: list) -> bytes:
    return integer(len(client.db.typed(args[1], list) or ()))


def bounds(low: int, high: int, size: int) -> tuple:
    """(first, behind the last) of a range that counts from either end."""
    low = max(low + size, 0) if low < 0 else low
    high = high + size if high < 0 else min(high, size - 1)
    return (low, high + 1) if low <= high else (0, 0)


def lrange(client: object, args: list) -> bytes:
    low = parse_integer(args[2])
    high = parse_integer(args[3])
    values = client.db.typed(args[1], list) or []
    low, high = bounds(low, high, len(values))
    return bulks(values[low:high])


def ltrim(client: object, args: list) -> bytes:
    low = parse_integer(args[2])
    high = parse_integer(args[3])
    values = client.db.typed(args[1], list)
    if values is not None:
        low, high = bounds(low, high, len(values))
        values = client.db.values[args[1]] = values[low:high]
        client.db.changed(args[1], values)
    return OK


def lindex(client: object, args: list) -> bytes:
    values = client.db.typed(args[1], list)
    if values is None:
        return client.nil
    at = parse_integer(args[2])
    return bulk(values[at]) if -len(values) <= at < len(values) else client.nil


def lset(client: object, args: list) -> bytes:
    values = client.db.typed(args[1], list)
    if values is None:
        raise CommandError(NO_KEY)
    at = parse_integer(args[2])
    if not -len(values) <= at < len(values):
        raise CommandError("ERR index out of range")
    values[at] = args[3]
    client.db.touch(args[1])
    return OK


def linsert(client: object, args: list) -> bytes:
    where = args[2].upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise syntax_error()
    values = client.db.typed(args[1], list)
    if values is None:
        return ZERO
    if args[3] not in values:
        return integer(-1)
    values.insert(values.index(args[3]) + (where == b"AFTER"), args[4])
    client.db.touch(args[1])
    return integer(len(values))


def lrem(client: object, args: list) -> bytes:
    count = parse_integer(args[2])
    values = client.db.typed(args[1], list)
    if values is None:
        return ZERO
    if count < 0:
        values.reverse()
    kept = []
    left = abs(count) or len(values)
    for value in values:
        if left and value == args[3]:
            left -= 1
        else:
            kept.append(value)
    gone = len(values) - len(kept)
    if count < 0:
        kept.reverse()
    client.db.values[args[1]] = kept
    if gone:
        client.db.changed(args[1], kept)
    return integer(gone)


def _position_options(args: list) -> tuple:
    """(rank, count or None, most comparisons)."""
    rank, count, most = 1, None, 0
    for at in range(3, len(args), 2):
        word = args[at].upper()
        if at + 1 >= len(args):
            raise syntax_error()
        if word == b"RANK":
            rank = parse_integer(args[at + 1])
            if rank == 0:
                raise CommandError(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
                    "or use negative to start from the end of the list"
                )
        elif word == b"COUNT":
            count = parse_integer(args[at + 1])
            if count < 0:
                raise CommandError("ERR COUNT can't be negative")
        elif word == b"MAXLEN":
            most = parse_integer(args[at + 1])
            if most < 0:
                raise CommandError("ERR MAXLEN can't be negative")
        else:
            raise syntax_error()
    return rank, count, most


def lpos(client: object, args: list) -> bytes:
    rank, count, most = _position_options(args)
    values = client.db.typed(args[1], list) or []
    size = len(values)
    found: list = []
    skip = abs(rank) - 1
    for step in range(min(size, most) if most else size):
        at = size - 1 - step if rank < 0 else step
        if values[at] != args[2]:
            continue
        if skip:
            skip -= 1
            continue
        if count is None:
            return integer(at)
        found.append(b":%d\r\n" % at)
        if len(found) == count:
            break
    return client.nil if count is None else b"*%d\r\n" % len(found) + b"".join(found)


def move(db: object, source: bytes, target: bytes, ends: tuple) -> object:
    """An element from one list to another; ends: whether the first one, whether to the front. None: there is none."""
    values = db.typed(source, list)
    if values is None:
        return None
    db.typed(target, list)
    value = take(db, source, ends[0], 1)[0]
    others = db.made(target, list)
    others.insert(0 if ends[1] else len(others), value)
    db.touch(target)
    return value


def ends_of(first: bytes, second: bytes) -> tuple:
    words = first.upper(), second.upper()
    for word in words:
        if word not in (b"LEFT", b"RIGHT"):
            raise syntax_error()
    return words[0] == b"LEFT", words[1] == b"LEFT"


def lmove(client: object, args: list) -> bytes:
    value = move(client.db, args[1], args[2], ends_of(args[3], args[4]))
    return client.nil if value is None else bulk(value)


def rpoplpush(client: object, args: list) -> bytes:
    value = move(client.db, args[1], args[2], (False, True))
    return client.nil if value is None else bulk(value)


COMMANDS = {
    "rpush": (rpush, -3, "wm"),
    "lpush": (lpush, -3, "wm"),
    "rpushx": (rpush, -3, "wm"),
    "lpushx": (lpush, -3, "wm"),
    "lpop": (pop, -2, "w"),
    "rpop": (pop, -2, "w"),
    "llen": (llen, 2, ""),
    "lrange": (lrange, 4, ""),
    "ltrim": (ltrim, 4, "w"),
    "lindex": (lindex, 3, ""),
    "lset": (lset, 4, "wm"),
    "linsert": (linsert, 5, "wm"),
    "lrem": (lrem, 4, "w"),
    "lpos": (lpos, -3, ""),
    "lmove": (lmove, 5, "wm"),
    "rpoplpush": (rpoplpush, 3, "wm"),
}
