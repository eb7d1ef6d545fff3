# SPDX-License-Identifier: MIT
"""Commands on keys of any type."""

import random

from keyspace import TYPES
from number import MAX, MIN, parse_integer
from pattern import matches
from resp import (
    NO_KEY,
    NOT_INTEGER,
    OK,
    ONE,
    ZERO,
    CommandError,
    bulk,
    bulks,
    integer,
    syntax_error,
    unknown_subcommand,
)
from sortedset import SortedSet


def delete(client: object, args: list) -> bytes:
    """DEL, UNLINK."""
    remove = client.db.remove
    return integer(sum([remove(key) for key in args[1:]]))


def exists(client: object, args: list) -> bytes:
    """EXISTS, TOUCH."""
    look = client.db.look
    return integer(sum([look(key) is not None for key in args[1:]]))


def kind(client: object, args: list) -> bytes:
    """TYPE."""
    value = client.db.get(args[1])
    return b"+none\r\n" if value is None else b"+%s\r\n" % TYPES[type(value)]


def rename(client: object, args: list) -> bytes:
    """RENAME, RENAMENX."""
    db = client.db
    only_new = len(args[0]) == 8
    value = db.get(args[1])
    if value is None:
        raise CommandError(NO_KEY)
    if args[1] == args[2]:
        return ZERO if only_new else OK
    if only_new and db.get(args[2]) is not None:
        return ZERO
    at = db.expires.get(args[1])
    db.remove(args[1])
    db.put(args[2], value)
    if at is not None:
        db.expires[args[2]] = at
    return ONE if only_new else OK


def randomkey(client: object, args: list) -> bytes:
    keys = client.db.live_keys()
    return bulk(random.choice(keys)) if keys else client.nil


def keys(client: object, args: list) -> bytes:
    wanted = args[1]
    found = client.db.live_keys()
    if wanted != b"*":
        found = [key for key in found if matches(wanted, key)]
    return bulks(found)


def _database(client: object, text: bytes, problem: str) -> object:
    number = parse_integer(text, problem)
    databases = client.db.space.databases
    if not 0 <= number < len(databases):
        raise CommandError("ERR DB index is out of range")
    return databases[number]


def select(client: object, args: list) -> bytes:
    client.db = _database(client, args[1], NOT_INTEGER)
    return OK


def copied(value: object) -> object:
    """One that can be changed by itself."""
    if type(value) is list:
        return value[:]
    return value if type(value) is bytes else value.copy()


def copy(client: object, args: list) -> bytes:
    target = client.db
    replace = False
    at = 3
    while at < len(args):
        word = args[at].upper()
        if word == b"REPLACE":
            replace = True
        elif word == b"DB" and at + 1 < len(args):
            at += 1
            target = _database(client, args[at], NOT_INTEGER)
        else:
            raise syntax_error()
        at += 1
    if target is client.db and args[1] == args[2]:
        raise CommandError("ERR source and destination objects are the same")
    value = client.db.get(args[1])
    if value is None or (not replace and target.get(args[2]) is not None):
        return ZERO
    target.put(args[2], copied(value))
    if args[1] in client.db.expires:
        target.expires[args[2]] = client.db.expires[args[1]]
    return ONE


def move(client: object, args: list) -> bytes:
    target = _database(client, args[2], NOT_INTEGER)
    if target is client.db:
        raise CommandError("ERR source and destination objects are the same")
    value = client.db.get(args[1])
    if value is None or target.get(args[1]) is not None:
        return ZERO
    at = client.db.expires.get(args[1])
    client.db.remove(args[1])
    target.put(args[1], value)
    if at is not None:
        target.expires[args[1]] = at
    return ONE


def swapdb(client: object, args: list) -> bytes:
    first = _database(client, args[1], "ERR invalid first DB index")
    second = _database(client, args[2], "ERR invalid second DB index")
    for name in ("values", "expires", "used"):
        kept = getattr(first, name)
        setattr(first, name, getattr(second, name))
        setattr(second, name, kept)
    for db in (first, second):
        for key in list(db.watchers) + list(db.waiters):
            db.touch(key)
    client.db.space.dirty += 1
    return OK


def dbsize(client: object, args: list) -> bytes:
    return integer(len(client.db.values))


def flush(client: object, args: list) -> bytes:
    """FLUSHDB, FLUSHALL."""
    if len(args) > 2 or (len(args) == 2 and args[1].upper() not in (b"SYNC", b"ASYNC")):
        raise syntax_error()
    for db in client.db.space.databases if len(args[0]) == 8 else [client.db]:
        db.clear()
    return OK


_SMALL = 64  # bytes of an element in a compact encoding
_FEW = 128  # elements of it


def _is_small(value: object) -> bool:
    return len(value) <= _FEW and all(len(each) <= _SMALL for each in value)


def _integral(text: bytes) -> bool:
    try:
        return MIN <= parse_integer(text) <= MAX
    except CommandError:
        return False


def encoding(value: object) -> bytes:
    """As Redis would keep it, by the size; changes of the past do not count."""
    kind = type(value)
    if kind is bytes:
        return b"int" if _integral(value) else b"embstr" if len(value) <= 44 else b"raw"
    if kind is list:
        return b"listpack" if sum([len(each) + 11 for each in value]) <= 8192 else b"quicklist"
    if kind is set:
        return b"intset" if len(value) <= 512 and all(_integral(each) for each in value) else b"hashtable"
    if kind is SortedSet:
        return b"listpack" if _is_small(value.scores) else b"skiplist"
    return b"listpack" if len(value) <= 512 and _is_small(list(value) + list(value.values())) else b"hashtable"


def inspect(client: object, args: list) -> bytes:
    """OBJECT."""
    what = args[1].upper()
    if what == b"HELP":
        return bulks([b"OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key"])
    if what not in (b"ENCODING", b"FREQ", b"IDLETIME", b"REFCOUNT"):
        raise unknown_subcommand(args)
    if len(args) != 3:
        raise CommandError("ERR wrong number of arguments for 'object|%s' command" % what.lower().decode())
    db = client.db
    value = db.get(args[2])
    if value is None:
        return client.nil
    if what == b"ENCODING":
        return bulk(encoding(value))
    if what == b"REFCOUNT":
        return ONE
    eviction = client.server.eviction
    often = eviction.policy.endswith(b"lfu")
    if often != (what == b"FREQ"):
        how = "selected, idle time" if often else "not selected, access frequency"
        raise CommandError(
            "ERR An LFU maxmemory policy is %s not tracked. Please note that when switching between policies at "
            "runtime LRU and LFU data will take some time to adjust." % how
        )
    if often:
        return integer(eviction.often(db, args[2]))
    since = db.used.get(args[2], db.space.now) if db.used is not None else db.space.now
    return integer((db.space.now - since) // 1000)


COMMANDS = {
    "del": (delete, -2, "w"),
    "unlink": (delete, -2, "w"),
    "exists": (exists, -2, ""),
    "touch": (exists, -2, ""),
    "type": (kind, 2, ""),
    "rename": (rename, 3, "w"),
    "renamenx": (rename, 3, "w"),
    "randomkey": (randomkey, 1, ""),
    "keys": (keys, 2, ""),
    "select": (select, 2, ""),
    "copy": (copy, -3, "wm"),
    "move": (move, 3, "w"),
    "swapdb": (swapdb, 3, "w"),
    "dbsize": (dbsize, 1, ""),
    "flushdb": (flush, -1, "w"),
    "flushall": (flush, -1, "w"),
    "object": (inspect, -2, ""),
}
