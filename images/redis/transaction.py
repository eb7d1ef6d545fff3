# SPDX-License-Identifier: MIT
"""MULTI, EXEC, DISCARD, WATCH, UNWATCH."""

from resp import OK, CommandError, array


def multi(client: object, args: list) -> bytes:
    if client.queue is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    client.queue = []
    client.queue_broken = False
    client.update()
    return OK


def forget(client: object) -> None:
    """The transaction and what it watches."""
    unwatch(client, [])
    client.queue = None
    client.queue_broken = False
    client.update()


def discard(client: object, args: list) -> bytes:
    if client.queue is None:
        raise CommandError("ERR DISCARD without MULTI")
    forget(client)
    return OK


def execute(client: object, args: list) -> bytes:
    """EXEC."""
    if client.queue is None:
        raise CommandError("ERR EXEC without MULTI")
    queue, broken = client.queue, client.queue_broken
    for db, key in client.watched:
        db.get(key)  # one that has expired is a change
    changed = client.watch_broken
    forget(client)
    if broken:
        return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    if changed:
        return client.nil_array
    client.executing = True
    log = client.server.log
    try:
        if log is not None:
            log.begin_group()
        return array([client.execute(command) for command in queue])
    finally:
        client.executing = False
        if log is not None:
            log.end_group()


def watch(client: object, args: list) -> bytes:
    if client.queue is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    db = client.db
    for key in args[1:]:
        if (db, key) in client.watched:
            continue
        db.get(key)
        client.watched.append((db, key))
        db.watchers.setdefault(key, []).append(client)
    return OK


def unwatch(client: object, args: list) -> bytes:
    for db, key in client.watched:
        watchers = db.watchers[key]
        watchers.remove(client)
        if not watchers:
            del db.watchers[key]
    client.watched = []
    client.watch_broken = False
    return OK


COMMANDS = {
    "multi": (multi, 1, ""),
    "exec": (execute, 1, ""),
    "discard": (discard, 1, ""),
    "watch": (watch, -2, ""),
    "unwatch": (unwatch, 1, ""),
}
