# SPDX-License-Identifier: MIT
"""All commands, by the names that clients send: (function, arity, whether it writes, whether it adds memory, name).

An arity counts the name too; a negative one is the least.
"""

import bits
import blocking
import expiry
import hashes
import keys
import lists
import pubsub
import scan
import serverinfo
import session
import sets
import strings
import transaction
import zranges
import zsets
import zstore

_MODULES = (
    strings,
    bits,
    expiry,
    hashes,
    lists,
    sets,
    zsets,
    zranges,
    zstore,
    keys,
    scan,
    blocking,
    transaction,
    pubsub,
    session,
    serverinfo,
)


# Whose commands answer at once and leave a client as it is.
_PLAIN = (strings, bits, expiry, hashes, lists, sets, zsets, zranges, zstore, keys, scan)


def plain(table: dict, log: bool, limit: bool) -> dict:
    """Of build()'s table those commands before which nothing stands, neither a log nor the memory's limit."""
    names = [name.encode() for module in _PLAIN for name in module.COMMANDS] + [b"ping", b"echo"]
    found = {}
    for name in names:
        for key in (name, name.upper()):
            _, _, writes, adds, _ = table[key]
            if not writes or not (log or (limit and adds)):
                found[key] = table[key]
    return found


def build() -> dict:
    """Each name in small and in large letters; others are found by lower()."""
    table = {}
    for module in _MODULES:
        for name, (function, arity, flags) in module.COMMANDS.items():
            entry = function, arity, "w" in flags, "m" in flags, name.encode()
            table[name.encode()] = table[name.upper().encode()] = entry
    return table
