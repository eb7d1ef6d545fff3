# SPDX-License-Identifier: MIT
"""Commands on sets."""

from chance import drawn
from number import parse_integer
from resp import EMPTY, ONE, ZERO, CommandError, array, bulk, bulks, integer, members, syntax_error


def sadd(client: object, args: list) -> bytes:
    values = client.db.made(args[1], set)
    before = len(values)
    for value in args[2:]:
        values.add(value)
    added = len(values) - before
    if added:
        client.db.touch(args[1])
    return integer(added)


def srem(client: object, args: list) -> bytes:
    values = client.db.typed(args[1], set)
    if values is None:
        return ZERO
    before = len(values)
    for value in args[2:]:
        values.discard(value)
    gone = before - len(values)
    if gone:
        client.db.changed(args[1], values)
    return integer(gone)


def smembers(client: object, args: list) -> bytes:
    return members(client, client.db.typed(args[1], set) or ())


def scard(client: object, args: list) -> bytes:
    return integer(len(client.db.typed(args[1], set) or ()))


def sismember(client: object, args: list) -> bytes:
    return ONE if args[2] in (client.db.typed(args[1], set) or ()) else ZERO


def smismember(client: object, args: list) -> bytes:
    values = client.db.typed(args[1], set) or ()
    return array([ONE if value in values else ZERO for value in args[2:]])


def smove(client: object, args: list) -> bytes:
    db = client.db
    values = db.typed(args[1], set)
    if values is None:
        return ZERO
    db.typed(args[2], set)
    if args[3] not in values:
        return ZERO
    if args[1] == args[2]:
        return ONE
    values.discard(args[3])
    db.changed(args[1], values)
    db.made(args[2], set).add(args[3])
    db.touch(args[2])
    return ONE


def spop(client: object, args: list) -> bytes:
    db = client.db
    count = None
    if len(args) > 3:
        raise syntax_error()
    if len(args) == 3:
        problem = "ERR value is out of range, must be positive"
        count = parse_integer(args[2], problem)
        if count < 0:
            raise CommandError(problem)
    values = db.typed(args[1], set)
    if values is None:
        return client.nil if count is None else members(client, ())
    taken = drawn(list(values), 1 if count is None else count)
    for value in taken:
        values.discard(value)
    if taken:
        db.changed(args[1], values)
        db.space.as_written = [[b"SREM", args[1]] + taken]  # noqa: RUF005
    return bulk(taken[0]) if count is None else members(client, taken)


def srandmember(client: object, args: list) -> bytes:
    if len(args) > 3:
        raise syntax_error()
    count = parse_integer(args[2]) if len(args) == 3 else None
    values = client.db.typed(args[1], set)
    if values is None:
        return client.nil if count is None else EMPTY
    if count is None:
        return bulk(drawn(list(values), 1)[0])
    return bulks(drawn(list(values), count))


def _combined(db: object, name: bytes, keys: list) -> set:
    """Of several sets; name: of the command, its first letters choose."""
    given = [db.typed(key, set) for key in keys]
    sets = [values or set() for values in given]
    result = sets[0].copy()
    for values in sets[1:]:
        if name.startswith(b"su"):
            result.update(values)
        elif name.startswith(b"si"):
            result = result & values
        else:
            result = result - values
    return result


def combine(client: object, args: list) -> bytes:
    """SUNION, SINTER, SDIFF."""
    return members(client, _combined(client.db, args[0].lower(), args[1:]))


def combine_and_store(client: object, args: list) -> bytes:
    """SUNIONSTORE, SINTERSTORE, SDIFFSTORE."""
    db = client.db
    result = _combined(db, args[0].lower(), args[2:])
    if result:
        db.put(args[1], result)
    else:
        db.remove(args[1])
    return integer(len(result))


def sintercard(client: object, args: list) -> bytes:
    problem = "ERR numkeys should be greater than 0"
    count = parse_integer(args[1], problem)
    if count <= 0:
        raise CommandError(problem)
    if count > len(args) - 2:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    limit = 0
    rest = args[2 + count :]
    while rest:
        if rest[0].upper() != b"LIMIT" or len(rest) < 2:
            raise syntax_error()
        problem = "ERR LIMIT can't be negative"
        limit = parse_integer(rest[1], problem)
        if limit < 0:
            raise CommandError(problem)
        rest = rest[2:]
    found = len(_combined(client.db, b"si", args[2 : 2 + count]))
    return integer(min(found, limit) if limit else found)


COMMANDS = {
    "sadd": (sadd, -3, "wm"),
    "srem": (srem, -3, "w"),
    "smembers": (smembers, 2, ""),
    "scard": (scard, 2, ""),
    "sismember": (sismember, 3, ""),
    "smismember": (smismember, -3, ""),
    "smove": (smove, 4, "w"),
    "spop": (spop, -2, "w"),
    "srandmember": (srandmember, -2, ""),
    "sunion": (combine, -2, ""),
    "sinter": (combine, -2, ""),
    "sdiff": (combine, -2, ""),
    "sunionstore": (combine_and_store, -3, "wm"),
    "sinterstore": (combine_and_store, -3, "wm"),
    "sdiffstore": (combine_and_store, -3, "wm"),
    "sintercard": (sintercard, -3, ""),
}
