# SPDX-License-Identifier: MIT
"""Start and end: settings, the log of commands, the page of metrics."""

import gc
import sys

import appliance
import vfs  # noqa: F401 - a disk is mounted where this is imported
from appendlog import AppendLog, LogError
from client import Session
from config import FSYNC
from eviction import POLICIES
from resp import MOST
from server import Server

import floe

_BAD_LOG = 3
_DEFAULTS = {
    "port": appliance.Port(6379),
    "databases": 16,
    "maxclients": 128,
    "timeout": 0,
    "maxmemory": appliance.Size(0),
    "maxmemory_policy": "noeviction",
    "appendonly": False,
    "appendfsync": "everysec",
    "appendfile": "/appendonly.aof",
    "rewrite_size": appliance.Size(1 << 20),
    "proto_max_bulk_len": appliance.Size(0),
    "maxmemory_clients": appliance.Size(0),
}


def _check(app: appliance.PolledApp) -> None:
    settings = app.settings
    if settings.appendfsync.encode() not in FSYNC:
        app.fail("APPENDFSYNC=%s: always, everysec or no" % settings.appendfsync)
    if settings.maxmemory_policy.encode() not in POLICIES:
        known = ", ".join([policy.decode() for policy in POLICIES])
        app.fail("MAXMEMORY_POLICY=%s: one of %s" % (settings.maxmemory_policy, known))
    if not 1 <= settings.databases <= 64:
        app.fail("DATABASES=%d: 1 to 64" % settings.databases)
    if settings.maxclients < 1:
        app.fail("MAXCLIENTS=%d: 1 or more" % settings.maxclients)
    if settings.timeout < 0:
        app.fail("TIMEOUT=%d: seconds, or 0 for never" % settings.timeout)


def _made(app: appliance.PolledApp) -> Server:
    settings = app.settings
    server = Server(app, settings.databases)
    server.port = settings.port
    server.most_clients = settings.maxclients
    server.idle_s = settings.timeout
    server.fsync = settings.appendfsync.encode()
    server.rewrite_least = settings.rewrite_size
    try:
        server.password = floe.secret("requirepass").strip()
    except KeyError:
        pass
    gc.collect()
    server.eviction.base = gc.mem_alloc()
    server.eviction.choose(settings.maxmemory_policy.encode())
    server.set_limit(settings.maxmemory)
    _share(server, settings)
    return server


def _share(server: Server, settings: object) -> None:
    """How much of what is not whole there may be: what was not set is a share of the memory that is free."""
    free = gc.mem_free()
    server.held_most = settings.maxmemory_clients or free // 2
    server.most = MOST[0], min(settings.proto_max_bulk_len or max(free // 8, 1 << 20), MOST[1])


def _load(server: Server, path: str) -> None:
    """The databases from the log; from here on it is written."""
    log = AppendLog(path)
    limit, server.limit = server.limit, 0
    try:
        done = log.load(Session(server), server.say.warning)
        log.open()
    except LogError as exc:
        server.say.error("%s cannot be loaded: %s", path, exc)
        sys.exit(_BAD_LOG)
    except OSError as exc:
        server.say.error("%s: error %d: is there a disk that can be written?", path, exc.errno or 0)
        sys.exit(_BAD_LOG)
    server.limit = limit
    server.log = log
    server.sort_commands()
    server.space.deleted = server.deleted
    server.say.info("%d commands loaded from %s", done, path)


def _measure(app: appliance.PolledApp, server: Server) -> None:
    space = server.space
    for name, text, function in (
        ("redis_connected_clients", "Clients.", lambda: len(server.clients)),
        ("redis_commands_processed", "Commands since the start.", lambda: server.commands),
        ("redis_connections_received", "Connections since the start.", lambda: server.accepted),
        ("redis_keys", "Keys of all databases.", lambda: sum([len(db.values) for db in space.databases])),
        ("redis_keyspace_hits", "Reads that found a key.", lambda: space.hits),
        ("redis_keyspace_misses", "Reads that found none.", lambda: space.misses),
        ("redis_expired_keys", "Keys whose time came.", lambda: space.expired),
        ("redis_evicted_keys", "Keys that went for others.", lambda: space.evicted),
        ("redis_memory_used_bytes", "The script's memory, garbage too.", gc.mem_alloc),
        ("redis_log_bytes", "The append-only file.", lambda: server.log.size if server.log else 0),
    ):
        app.gauge(name, text, function=function)
    app.check("log", lambda: server.log is None or not server.log.problem or "error %d" % server.log.problem)


def run() -> None:
    app = appliance.PolledApp("redis", _DEFAULTS)
    _check(app)
    server = _made(app)
    if app.settings.appendonly:
        _load(server, app.settings.appendfile)
    _measure(app, server)
    families = server.listen()
    app.log.info("serving on port %d (%s)", server.port, ", ".join(families))
    app.ready()
    app.run()
    server.close()
    app.log.info("stopped; %d commands", server.commands)
