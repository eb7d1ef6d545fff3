# SPDX-License-Identifier: MIT
"""All commands, by the names that clients send: (function, arity, whether it writes, whether it adds memory, name).

An arity counts the name too; a negative one is the least.
"""

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


def build() -> dict:
    """Each name in small and in large letters; others are found by lower()."""
    table = {}
    for module in _MODULES:
        for name, (function, arity, flags) in module.COMMANDS.items():
            entry = function, arity, "w" in flags, "m" in flags, name.encode()
            table[name.encode()] = table[name.upper().encode()] = entry
    return table
