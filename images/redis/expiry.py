# SPDX-License-Identifier: MIT
"""Commands that say when a key goes."""

from number import MAX, parse_integer
from resp import ONE, ZERO, CommandError, integer, text_of

_SECONDS = (b"EX", b"EXAT")
_FROM_NOW = (b"EX", b"PX")


def deadline(now: int, unit: bytes, text: bytes, name: str, positive: bool = True) -> int:
    """When, in ms since 1970: of EX, PX, EXAT or PXAT. Raises CommandError."""
    at = parse_integer(text)
    problem = "ERR invalid expire time in '%s' command" % name
    if positive and at <= 0:
        raise CommandError(problem)
    if unit in _SECONDS:
        if abs(at) > MAX // 1000:
            raise CommandError(problem)
        at *= 1000
    if unit in _FROM_NOW:
        at += now
        if at > MAX:
            raise CommandError(problem)
    return at


_UNITS = {b"expire": b"EX", b"pexpire": b"PX", b"expireat": b"EXAT", b"pexpireat": b"PXAT"}


def _options(args: list) -> set:
    options = set()
    for word in args[3:]:
        upper = word.upper()
        if upper not in (b"NX", b"XX", b"GT", b"LT"):
            raise CommandError("ERR Unsupported option %s" % text_of(word))
        options.add(upper)
    if b"NX" in options and len(options) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in options and b"LT" in options:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return options


def expire(client: object, args: list) -> bytes:
    """EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT."""
    db = client.db
    key = args[1]
    options = _options(args)
    name = args[0].lower()
    at = deadline(db.space.now, _UNITS[name], args[2], name.decode(), positive=False)
    if db.get(key) is None:
        return ZERO
    old = db.expires.get(key)
    if (
        (b"NX" in options and old is not None)
        or (b"XX" in options and old is None)
        or (b"GT" in options and (old is None or at <= old))
        or (b"LT" in options and old is not None and at >= old)
    ):
        return ZERO
    if at <= db.space.now:
        db.remove(key)
        db.space.as_written = [[b"DEL", key]]
        return ONE
    db.expires[key] = at
    db.touch(key)
    db.space.as_written = [[b"PEXPIREAT", key, b"%d" % at]]
    return ONE


def ttl(client: object, args: list) -> bytes:
    """TTL, PTTL, EXPIRETIME, PEXPIRETIME."""
    db = client.db
    name = args[0].lower()
    if db.get(args[1]) is None:
        return integer(-2)
    at = db.expires.get(args[1])
    if at is None:
        return integer(-1)
    if name in (b"ttl", b"pttl"):
        at = max(at - db.space.now, 0)
    return integer(at if name[0] == 112 else (at + 500) // 1000)


def persist(client: object, args: list) -> bytes:
    db = client.db
    if db.get(args[1]) is None or db.expires.pop(args[1], None) is None:
        return ZERO
    db.touch(args[1])
    return ONE


COMMANDS = {
    "expire": (expire, -3, "w"),
    "pexpire": (expire, -3, "w"),
    "expireat": (expire, -3, "w"),
    "pexpireat": (expire, -3, "w"),
    "ttl": (ttl, 2, ""),
    "pttl": (ttl, 2, ""),
    "expiretime": (ttl, 2, ""),
    "pexpiretime": (ttl, 2, ""),
    "persist": (persist, 2, "w"),
}
