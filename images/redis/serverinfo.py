# SPDX-License-Identifier: MIT
"""Commands about the server: INFO, CONFIG, COMMAND, TIME and the like."""

import gc
import time

from number import parse_integer
from pattern import matches
from resp import OK, CommandError, array, bulk, bulks, error, integer, pairs, unknown_subcommand
from session import VERSION


def _sections(server: object) -> list:
    """(name, lines)."""
    space = server.space
    up = (space.now - server.started) // 1000
    log = server.log
    keys = [
        b"db%d:keys=%d,expires=%d,avg_ttl=0" % (db.number, len(db.values), len(db.expires))
        for db in space.databases
        if db.values
    ]
    used = gc.mem_alloc()
    waiting = len([client for client in server.clients.values() if client.waits is not None])
    persistence = [b"loading:0", b"rdb_changes_since_last_save:%d" % space.dirty, b"aof_enabled:%d" % (log is not None)]
    if log is not None:
        state = b"err" if log.problem else b"ok"
        persistence += [
            b"aof_current_size:%d" % log.size,
            b"aof_base_size:%d" % log.base,
            b"aof_last_write_status:" + state,
        ]
    return [
        _section("Server", redis_version=VERSION, redis_mode="standalone", os="Floe", arch_bits=64, process_id=1,
                 tcp_port=server.port, uptime_in_seconds=up, uptime_in_days=up // 86400),
        _section("Clients", connected_clients=len(server.clients), maxclients=server.most_clients,
                 blocked_clients=waiting),
        _section("Memory", used_memory=used, maxmemory=server.limit, maxmemory_policy=server.eviction.policy,
                 total_system_memory=used + gc.mem_free()),
        (b"Persistence", persistence),
        _section("Stats", total_connections_received=server.accepted, total_commands_processed=server.commands,
                 expired_keys=space.expired, evicted_keys=space.evicted, keyspace_hits=space.hits,
                 keyspace_misses=space.misses, pubsub_channels=len(server.hub.channels),
                 pubsub_patterns=len(server.hub.patterns)),
        _section("Replication", role="master", connected_slaves=0),
        (b"Keyspace", keys),
    ]  # fmt: skip


def _section(name: str, **facts: object) -> tuple:
    lines = []
    for key in sorted(facts):
        value = facts[key]
        lines.append(b"%s:%s" % (key.encode(), value if isinstance(value, bytes) else str(value).encode()))
    return name.encode(), lines


def info(client: object, args: list) -> bytes:
    wanted = [word.lower() for word in args[1:]]
    said = []
    for name, lines in _sections(client.server):
        if not wanted or name.lower() in wanted or b"all" in wanted or b"default" in wanted or b"everything" in wanted:
            said.append(b"# %s\r\n" % name + b"".join([line + b"\r\n" for line in lines]))
    return bulk(b"\r\n".join(said))


def config(client: object, args: list) -> bytes:
    what = args[1].lower()
    settings = client.server.config
    if what == b"get" and len(args) > 2:
        flat = []
        for name in settings.names():
            if any(matches(pattern.lower(), name) for pattern in args[2:]):
                flat += [bulk(name), bulk(settings.get(name))]
        return pairs(client, flat)
    if what == b"set" and len(args) > 3 and not len(args) & 1:
        for at in range(2, len(args), 2):
            settings.set(args[at].lower(), args[at + 1])
        return OK
    if what == b"resetstat" and len(args) == 2:
        space = client.server.space
        space.expired = space.evicted = space.hits = space.misses = client.server.commands = 0
        return OK
    if what == b"rewrite" and len(args) == 2:
        raise CommandError("ERR The server is running without a config file")
    if what in (b"get", b"set"):
        return error("ERR wrong number of arguments for 'config|%s' command" % what.decode())
    raise unknown_subcommand(args)


def _described(entry: tuple) -> bytes:
    _, arity, writes, adds, name = entry
    flags = [b"+write\r\n" if writes else b"+readonly\r\n"] + ([b"+denyoom\r\n"] if adds else [])
    return array([bulk(name), integer(arity), array(flags), integer(1), integer(1), integer(1)] + [b"*0\r\n"] * 4)


def command(client: object, args: list) -> bytes:
    """COMMAND."""
    table = client.server.table
    what = args[1].lower() if len(args) > 1 else b""
    names = sorted([name for name in table if name == name.lower()])
    if what == b"count":
        return integer(len(names))
    if what == b"docs":
        return pairs(client, [])
    if what == b"list":
        return bulks(names)
    if what == b"info":
        names = [name.lower() for name in args[2:]] or names
    elif what:
        raise unknown_subcommand(args)
    return array([_described(table[name]) if name in table else client.nil_array for name in names])


def clock(client: object, args: list) -> bytes:
    """TIME."""
    now = time.time_ns() // 1000
    return bulks([b"%d" % (now // 1000000), b"%d" % (now % 1000000)])


def memory(client: object, args: list) -> bytes:
    """MEMORY USAGE."""
    if args[1].lower() != b"usage" or len(args) not in (3, 5):
        raise unknown_subcommand(args)
    if len(args) == 5:
        parse_integer(args[4])
    value = client.db.get(args[2])
    return client.nil if value is None else integer(client.server.eviction.size_of(args[2], value))


def rewrite(client: object, args: list) -> bytes:
    """BGREWRITEAOF."""
    if client.server.log is None:
        raise CommandError("ERR there is no log: start with APPENDONLY=yes and a disk")
    client.server.rewrite_due = True
    return b"+Background append only file rewriting started\r\n"


def role(client: object, args: list) -> bytes:
    return array([bulk(b"master"), integer(0), b"*0\r\n"])


def shutdown(client: object, args: list) -> bytes:
    client.end()
    client.server.loop.stopped = True
    return b""


COMMANDS = {
    "info": (info, -1, ""),
    "config": (config, -2, ""),
    "command": (command, -1, ""),
    "time": (clock, 1, ""),
    "memory": (memory, -2, ""),
    "bgrewriteaof": (rewrite, 1, ""),
    "role": (role, 1, ""),
    "shutdown": (shutdown, -1, ""),
}
