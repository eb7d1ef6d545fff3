# SPDX-License-Identifier: MIT
"""CONFIG's parameters: what can be asked for, and what can be changed while the server runs."""

from eviction import POLICIES
from resp import MOST, CommandError, text_of

_SIZES = (b"maxmemory", b"maxmemory-clients", b"proto-max-bulk-len", b"auto-aof-rewrite-min-size")
_BULK_LEAST = 1 << 20
FSYNC = (b"always", b"everysec", b"no")
_UNITS = {b"": 1, b"b": 1, b"k": 1000, b"kb": 1024, b"m": 10**6, b"mb": 1 << 20, b"g": 10**9, b"gb": 1 << 30}


class Config:
    """Parameters by name."""

    def __init__(self, server: object) -> None:
        self._server = server

    def names(self) -> list:
        return sorted(self._values())

    def get(self, name: bytes) -> bytes:
        return self._values()[name]

    def _values(self) -> dict:
        server = self._server
        return {
            b"appendonly": b"no" if server.log is None else b"yes",
            b"appendfsync": server.fsync,
            b"auto-aof-rewrite-percentage": b"100",
            b"auto-aof-rewrite-min-size": b"%d" % server.rewrite_least,
            b"databases": b"%d" % len(server.space.databases),
            b"lfu-decay-time": b"%d" % server.eviction.frequency.minutes,
            b"lfu-log-factor": b"%d" % server.eviction.frequency.factor,
            b"maxclients": b"%d" % server.most_clients,
            b"maxmemory": b"%d" % server.limit,
            b"maxmemory-clients": b"%d" % server.held_most,
            b"maxmemory-policy": server.eviction.policy,
            b"port": b"%d" % server.port,
            b"proto-max-bulk-len": b"%d" % server.most[1],
            b"requirepass": server.password,
            b"save": b"",
            b"timeout": b"%d" % server.idle_s,
        }

    def set(self, name: bytes, value: bytes) -> None:
        """Raises CommandError."""
        server = self._server
        if name not in self._values():
            raise CommandError("ERR Unknown option or number of arguments for CONFIG SET - '%s'" % text_of(name))
        if name == b"requirepass":
            server.password = value
        elif name in _SIZES:
            self._set_size(name, _size(name, value))
        elif name == b"maxmemory-policy" and value.lower() in POLICIES:
            server.eviction.choose(value.lower())
        elif name == b"appendfsync" and value.lower() in FSYNC:
            server.fsync = value.lower()
        elif name == b"lfu-decay-time" and value.isdigit():
            server.eviction.frequency.minutes = int(value)
        elif name == b"lfu-log-factor" and value.isdigit():
            server.eviction.frequency.factor = int(value)
        elif name == b"timeout" and value.isdigit():
            server.idle_s = int(value)
        elif name == b"maxclients" and value.isdigit() and int(value) > 0:
            server.most_clients = int(value)
        elif name == b"save":
            pass
        else:
            raise _refused(name, "argument couldn't be parsed, or can't be set at runtime")

    def _set_size(self, name: bytes, size: int) -> None:
        """Raises CommandError."""
        server = self._server
        if name == b"maxmemory":
            server.set_limit(size)
        elif name == b"maxmemory-clients":
            server.held_most = size
        elif name == b"auto-aof-rewrite-min-size":
            server.rewrite_least = size
        elif _BULK_LEAST <= size <= MOST[1]:
            server.most = MOST[0], size
        else:
            raise _refused(name, "argument must be between %d and %d inclusive" % (_BULK_LEAST, MOST[1]))


def _refused(name: bytes, why: str) -> CommandError:
    return CommandError("ERR CONFIG SET failed (possibly related to argument '%s') - %s" % (name.decode(), why))


def _size(name: bytes, text: bytes) -> int:
    digits = len(text)
    while digits and not text[digits - 1 : digits].isdigit():
        digits -= 1
    unit = _UNITS.get(text[digits:].lower())
    if unit is None or not text[:digits].isdigit():
        raise _refused(name, "argument must be a memory value")
    return int(text[:digits]) * unit
