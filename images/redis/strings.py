# SPDX-License-Identifier: MIT
"""Commands on strings."""

from expiry import deadline
from number import MAX, MIN, add_decimal, parse_integer
from resp import NOT_FLOAT, OK, ONE, WRONG_TYPE, ZERO, CommandError, bulk, bulks_or_nil, integer, syntax_error

_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


def get(client: object, args: list) -> bytes:
    db = client.db
    value = None if db.expires or db.used is not None else db.values.get(args[1])
    if value is not None:
        db.space.hits += 1
    else:
        value = db.look(args[1])
        if value is None:
            return client.nil
    if type(value) is not bytes:
        raise CommandError(WRONG_TYPE)
    return bulk(value)


def put(client: object, args: list) -> bytes:
    """SET."""
    if len(args) == 3:
        db = client.db
        if db.expires or db.watchers or db.waiters or db.used is not None:
            db.put(args[1], args[2])
        else:
            db.values[args[1]] = args[2]
            db.space.dirty += 1
        return OK
    return _put_with_options(client, args)


def _put_with_options(client: object, args: list) -> bytes:
    db = client.db
    key = args[1]
    options, expires = _set_options(db.space.now, args)
    if b"GET" in options:
        answer = _old(client, key)
    else:
        answer = OK
    there = db.get(key) is not None
    if (b"NX" in options and there) or (b"XX" in options and not there):
        return answer if b"GET" in options else client.nil
    at = db.expires.get(key) if b"KEEPTTL" in options else expires
    db.put(key, args[2])
    written = [args[0], key, args[2]]
    if at is not None:
        if at <= db.space.now:
            db.remove(key)
            db.space.as_written = [[b"DEL", key]]
            return answer
        db.expires[key] = at
        written += [b"PXAT", b"%d" % at]
    db.space.as_written = [written]
    return answer


def _set_options(now: int, args: list) -> tuple:
    """(words, when it expires or None)."""
    options: set = set()
    expires = None
    at = 3
    while at < len(args):
        word = args[at].upper()
        if word in (b"EX", b"PX", b"EXAT", b"PXAT") and at + 1 < len(args) and expires is None:
            if b"KEEPTTL" in options:
                raise syntax_error()
            expires = word, args[at + 1]
            at += 1
        elif (
            (word == b"KEEPTTL" and expires is None)
            or word == b"GET"
            or (word == b"NX" and b"XX" not in options)
            or (word == b"XX" and b"NX" not in options)
        ):
            options.add(word)
        else:
            raise syntax_error()
        at += 1
    return options, None if expires is None else deadline(now, expires[0], expires[1], "set")


def _old(client: object, key: bytes) -> bytes:
    value = client.db.typed(key, bytes)
    return client.nil if value is None else bulk(value)


def setnx(client: object, args: list) -> bytes:
    if client.db.get(args[1]) is not None:
        return ZERO
    client.db.put(args[1], args[2])
    return ONE


def setex(client: object, args: list) -> bytes:
    """SETEX, PSETEX."""
    db = client.db
    name = args[0].lower()
    at = deadline(db.space.now, b"EX" if name == b"setex" else b"PX", args[2], name.decode())
    db.put(args[1], args[3])
    db.expires[args[1]] = at
    db.space.as_written = [[b"SET", args[1], args[3], b"PXAT", b"%d" % at]]
    return OK


def getset(client: object, args: list) -> bytes:
    answer = _old(client, args[1])
    client.db.put(args[1], args[2])
    return answer


def getdel(client: object, args: list) -> bytes:
    answer = _old(client, args[1])
    client.db.remove(args[1])
    return answer


def getex(client: object, args: list) -> bytes:
    db = client.db
    key = args[1]
    word = args[2].upper() if len(args) > 2 else b""
    at = None
    if (word == b"PERSIST" and len(args) == 3) or (word in (b"EX", b"PX", b"EXAT", b"PXAT") and len(args) == 4):
        pass
    elif word:
        raise syntax_error()
    value = db.typed(key, bytes)
    if value is None:
        return client.nil
    if word == b"PERSIST":
        if db.expires.pop(key, None) is not None:
            db.touch(key)
            db.space.as_written = [[b"PERSIST", key]]
    elif word:
        at = deadline(db.space.now, word, args[3], "getex")
        if at <= db.space.now:
            db.remove(key)
            db.space.as_written = [[b"DEL", key]]
        else:
            db.expires[key] = at
            db.touch(key)
            db.space.as_written = [[b"PEXPIREAT", key, b"%d" % at]]
    return bulk(value)


def mget(client: object, args: list) -> bytes:
    look = client.db.look
    values = [look(key) for key in args[1:]]
    return bulks_or_nil(client, [value if type(value) is bytes else None for value in values])


def mset(client: object, args: list) -> bytes:
    _check_pairs(args)
    for at in range(1, len(args), 2):
        client.db.put(args[at], args[at + 1])
    return OK


def msetnx(client: object, args: list) -> bytes:
    _check_pairs(args)
    for at in range(1, len(args), 2):
        if client.db.get(args[at]) is not None:
            return ZERO
    mset(client, args)
    return ONE


def _check_pairs(args: list) -> None:
    if not len(args) & 1:
        raise CommandError("ERR wrong number of arguments for '%s' command" % args[0].lower().decode())


def _add(client: object, key: bytes, by: int) -> bytes:
    db = client.db
    value = db.typed(key, bytes)
    number = (0 if value is None else parse_integer(value)) + by
    if not MIN <= number <= MAX:
        raise CommandError("ERR increment or decrement would overflow")
    db.values[key] = b"%d" % number
    db.touch(key)
    return integer(number)


def incr(client: object, args: list) -> bytes:
    return _add(client, args[1], 1)


def decr(client: object, args: list) -> bytes:
    return _add(client, args[1], -1)


def incrby(client: object, args: list) -> bytes:
    return _add(client, args[1], parse_integer(args[2]))


def decrby(client: object, args: list) -> bytes:
    by = parse_integer(args[2])
    if by == MIN:
        raise CommandError("ERR decrement would overflow")
    return _add(client, args[1], -by)


def incrbyfloat(client: object, args: list) -> bytes:
    db = client.db
    value = db.typed(args[1], bytes)
    if value is not None and not value:
        raise CommandError(NOT_FLOAT)
    total = add_decimal(value or b"0", args[2])
    db.values[args[1]] = total
    db.touch(args[1])
    db.space.as_written = [[b"SET", args[1], total, b"KEEPTTL"]]
    return bulk(total)


def append(client: object, args: list) -> bytes:
    db = client.db
    value = (db.typed(args[1], bytes) or b"") + args[2]
    if len(value) > client.server.most[1]:
        raise CommandError(_TOO_LONG)
    db.values[args[1]] = value
    db.touch(args[1])
    return integer(len(value))


def strlen(client: object, args: list) -> bytes:
    return integer(len(client.db.typed(args[1], bytes) or b""))


def setrange(client: object, args: list) -> bytes:
    db = client.db
    at = parse_integer(args[2])
    if at < 0:
        raise CommandError("ERR offset is out of range")
    value = db.typed(args[1], bytes) or b""
    more = args[3]
    if not more:
        return integer(len(value))
    if at + len(more) > client.server.most[1]:
        raise CommandError(_TOO_LONG)
    if len(value) < at:
        value += bytes(at - len(value))
    value = value[:at] + more + value[at + len(more) :]
    db.values[args[1]] = value
    db.touch(args[1])
    return integer(len(value))


def getrange(client: object, args: list) -> bytes:
    low = parse_integer(args[2])
    high = parse_integer(args[3])
    value = client.db.typed(args[1], bytes) or b""
    size = len(value)
    if low < 0 and high < 0 and low > high:
        return bulk(b"")
    low = max(low + size, 0) if low < 0 else low
    high = max(high + size, 0) if high < 0 else min(high, size - 1)
    if not size or low > high:
        return bulk(b"")
    return bulk(value[low : high + 1])


COMMANDS = {
    "get": (get, 2, ""),
    "set": (put, -3, "wm"),
    "setnx": (setnx, 3, "wm"),
    "setex": (setex, 4, "wm"),
    "psetex": (setex, 4, "wm"),
    "getset": (getset, 3, "wm"),
    "getdel": (getdel, 2, "w"),
    "getex": (getex, -2, "w"),
    "mget": (mget, -2, ""),
    "mset": (mset, -3, "wm"),
    "msetnx": (msetnx, -3, "wm"),
    "incr": (incr, 2, "wm"),
    "decr": (decr, 2, "wm"),
    "incrby": (incrby, 3, "wm"),
    "decrby": (decrby, 3, "wm"),
    "incrbyfloat": (incrbyfloat, 3, "wm"),
    "append": (append, 3, "wm"),
    "strlen": (strlen, 2, ""),
    "setrange": (setrange, 4, "wm"),
    "getrange": (getrange, 4, ""),
    "substr": (getrange, 4, ""),
}
