# SPDX-License-Identifier: MIT
"""Start and end: settings, the log of commands, the page of metrics."""

import gc
import sys

import appliance
import vfs  # noqa: F401 - a disk is mounted where this is imported
from adminport import AdminPort
from appendlog import AppendLog, LogError
from client import Session
from config import FSYNC
from eviction import POLICIES
from server import Server

import floe

_BAD_SETTINGS = 2
_BAD_LOG = 3
_DEFAULTS = {
    "port": 6379,
    "databases": 16,
    "maxclients": 128,
    "timeout": 0,
    "maxmemory": appliance.Size(0),
    "maxmemory_policy": "noeviction",
    "appendonly": False,
    "appendfsync": "everysec",
    "appendfile": "/appendonly.aof",
    "rewrite_size": appliance.Size(1 << 20),
    "metrics_port": 9100,
    "log_level": "info",
}


def _settings() -> object:
    """Raises appliance.SettingsError."""
    settings = appliance.Settings("redis", _DEFAULTS)
    if settings.appendfsync.encode() not in FSYNC:
        raise appliance.SettingsError("APPENDFSYNC=%s: always, everysec or no" % settings.appendfsync)
    if settings.maxmemory_policy.encode() not in POLICIES:
        known = ", ".join([policy.decode() for policy in POLICIES])
        raise appliance.SettingsError("MAXMEMORY_POLICY=%s: one of %s" % (settings.maxmemory_policy, known))
    if not 1 <= settings.databases <= 64:
        raise appliance.SettingsError("DATABASES=%d: 1 to 64" % settings.databases)
    return settings


def _made(settings: object) -> Server:
    server = Server(appliance.Log("redis", settings.log_level), settings.databases)
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
    return server


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


def run() -> None:
    try:
        settings = _settings()
    except appliance.SettingsError as exc:
        print("error redis: %s" % exc)
        sys.exit(_BAD_SETTINGS)
    server = _made(settings)
    if settings.appendonly:
        _load(server, settings.appendfile)
    admin = AdminPort(server, settings.metrics_port) if settings.metrics_port else None
    families = server.listen()
    server.say.info("serving on port %d (%s)", server.port, ", ".join(families))
    if admin is not None:
        admin.is_ready = True
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    server.close()
    server.say.info("stopped; %d commands", server.commands)
