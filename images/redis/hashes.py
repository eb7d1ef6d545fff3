# SPDX-License-Identifier: MIT
"""Commands on hashes."""

import math

from chance import drawn
from number import MAX, MIN, add_decimal, parse_float, parse_integer
from resp import EMPTY, OK, ONE, ZERO, CommandError, array, bulk, bulks, bulks_or_nil, integer, pairs
from sortedset import grown


def hset(client: object, args: list) -> bytes:
    """HSET, HMSET."""
    name = args[0].lower()
    if len(args) & 1:
        raise CommandError("ERR wrong number of arguments for '%s' command" % name.decode())
    fields = client.db.made(args[1], dict)
    before = len(fields)
    for at in range(2, len(args), 2):
        fields[args[at]] = args[at + 1]
    grown(fields)
    client.db.touch(args[1])
    return OK if name == b"hmset" else integer(len(fields) - before)


def hsetnx(client: object, args: list) -> bytes:
    fields = client.db.made(args[1], dict)
    if args[2] in fields:
        return ZERO
    fields[args[2]] = args[3]
    client.db.touch(args[1])
    return ONE


def hget(client: object, args: list) -> bytes:
    fields = client.db.typed(args[1], dict)
    value = None if fields is None else fields.get(args[2])
    return client.nil if value is None else bulk(value)


def hmget(client: object, args: list) -> bytes:
    fields = client.db.typed(args[1], dict) or {}
    return bulks_or_nil(client, [fields.get(name) for name in args[2:]])


def hdel(client: object, args: list) -> bytes:
    fields = client.db.typed(args[1], dict)
    if fields is None:
        return ZERO
    before = len(fields)
    for name in args[2:]:
        fields.pop(name, None)
    gone = before - len(fields)
    if gone:
        client.db.changed(args[1], fields)
    return integer(gone)


def hgetall(client: object, args: list) -> bytes:
    fields = client.db.typed(args[1], dict) or {}
    flat: list = []
    for name, value in fields.items():
        flat.append(bulk(name))
        flat.append(bulk(value))
    return pairs(client, flat)


def hkeys(client: object, args: list) -> bytes:
    return bulks(client.db.typed(args[1], dict) or ())


def hvals(client: object, args: list) -> bytes:
    return bulks((client.db.typed(args[1], dict) or {}).values())


def hlen(client: object, args: list) -> bytes:
    return integer(len(client.db.typed(args[1], dict) or ()))


def hexists(client: object, args: list) -> bytes:
    return ONE if args[2] in (client.db.typed(args[1], dict) or ()) else ZERO


def hstrlen(client: object, args: list) -> bytes:
    return integer(len((client.db.typed(args[1], dict) or {}).get(args[2], b"")))


def hincrby(client: object, args: list) -> bytes:
    by = parse_integer(args[3])
    fields = client.db.typed(args[1], dict)
    old = fields.get(args[2]) if fields else None
    number = (0 if old is None else parse_integer(old, "ERR hash value is not an integer")) + by
    if not MIN <= number <= MAX:
        raise CommandError("ERR increment or decrement would overflow")
    client.db.made(args[1], dict)[args[2]] = b"%d" % number
    client.db.touch(args[1])
    return integer(number)


def hincrbyfloat(client: object, args: list) -> bytes:
    if math.isinf(parse_float(args[3])):
        raise CommandError("ERR value is NaN or Infinity")
    fields = client.db.typed(args[1], dict)
    try:
        total = add_decimal(fields.get(args[2], b"0") if fields else b"0", args[3])
    except CommandError:
        raise CommandError("ERR hash value is not a float")
    client.db.made(args[1], dict)[args[2]] = total
    client.db.touch(args[1])
    client.db.space.as_written = [[b"HSET", args[1], args[2], total]]
    return bulk(total)


def hrandfield(client: object, args: list) -> bytes:
    fields = client.db.typed(args[1], dict)
    if len(args) == 2:
        return bulk(drawn(list(fields), 1)[0]) if fields else client.nil
    count = parse_integer(args[2])
    with_values = len(args) == 4 and args[3].upper() == b"WITHVALUES"
    if len(args) > 3 and not with_values:
        raise CommandError("ERR syntax error")
    if not fields:
        return EMPTY
    names = drawn(list(fields), count)
    if not with_values:
        return bulks(names)
    both = [(bulk(name), bulk(fields[name])) for name in names]
    if client.resp == 3:
        return array([array(list(each)) for each in both])
    return array([answer for each in both for answer in each])


COMMANDS = {
    "hset": (hset, -4, "wm"),
    "hmset": (hset, -4, "wm"),
    "hsetnx": (hsetnx, 4, "wm"),
    "hget": (hget, 3, ""),
    "hmget": (hmget, -3, ""),
    "hdel": (hdel, -3, "w"),
    "hgetall": (hgetall, 2, ""),
    "hkeys": (hkeys, 2, ""),
    "hvals": (hvals, 2, ""),
    "hlen": (hlen, 2, ""),
    "hexists": (hexists, 3, ""),
    "hstrlen": (hstrlen, 3, ""),
    "hincrby": (hincrby, 4, "wm"),
    "hincrbyfloat": (hincrbyfloat, 4, "wm"),
    "hrandfield": (hrandfield, -2, ""),
}
