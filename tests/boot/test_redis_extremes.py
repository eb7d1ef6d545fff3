# SPDX-License-Identifier: MIT
"""images/redis answers every command whatever its arguments are: numbers at the ends of their ranges and beyond, bytes that
are no text, options out of place. FLOE_REDIS_EXTREMES sets how many, FLOE_SEED where they begin."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from floe.testing import Boot
from tests.boot.redisguest import BootRedis, Peer, serve

COMMANDS = int(os.environ.get("FLOE_REDIS_EXTREMES", "4000"))
SEED = int(os.environ.get("FLOE_SEED", "11"))
_AGAIN = 200  # commands after which the keys are set anew
_NAMES = [
    "acl",
    "append",
    "bitcount",
    "bitfield",
    "bitfield_ro",
    "bitop",
    "bitpos",
    "command",
    "copy",
    "dbsize",
    "decr",
    "decrby",
    "del",
    "discard",
    "echo",
    "exec",
    "exists",
    "expire",
    "expireat",
    "expiretime",
    "flushall",
    "flushdb",
    "get",
    "getbit",
    "getdel",
    "getex",
    "getrange",
    "getset",
    "hdel",
    "hexists",
    "hget",
    "hgetall",
    "hincrby",
    "hincrbyfloat",
    "hkeys",
    "hlen",
    "hmget",
    "hmset",
    "hrandfield",
    "hscan",
    "hset",
    "hsetnx",
    "hstrlen",
    "hvals",
    "incr",
    "incrby",
    "incrbyfloat",
    "info",
    "keys",
    "lcs",
    "lindex",
    "linsert",
    "llen",
    "lmove",
    "lmpop",
    "lpop",
    "lpos",
    "lpush",
    "lpushx",
    "lrange",
    "lrem",
    "lset",
    "ltrim",
    "memory",
    "mget",
    "move",
    "mset",
    "msetnx",
    "multi",
    "object",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "ping",
    "psetex",
    "pttl",
    "publish",
    "pubsub",
    "randomkey",
    "rename",
    "renamenx",
    "role",
    "rpop",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sadd",
    "scan",
    "scard",
    "sdiff",
    "sdiffstore",
    "select",
    "set",
    "setbit",
    "setex",
    "setnx",
    "setrange",
    "sinter",
    "sintercard",
    "sinterstore",
    "sismember",
    "smembers",
    "smismember",
    "smove",
    "spop",
    "srandmember",
    "srem",
    "sscan",
    "strlen",
    "substr",
    "sunion",
    "sunionstore",
    "swapdb",
    "time",
    "touch",
    "ttl",
    "type",
    "unlink",
    "unwatch",
    "watch",
    "zadd",
    "zcard",
    "zcount",
    "zdiff",
    "zdiffstore",
    "zincrby",
    "zinter",
    "zintercard",
    "zinterstore",
    "zlexcount",
    "zmpop",
    "zmscore",
    "zpopmax",
    "zpopmin",
    "zrandmember",
    "zrange",
    "zrangebylex",
    "zrangebyscore",
    "zrangestore",
    "zrank",
    "zrem",
    "zremrangebylex",
    "zremrangebyrank",
    "zremrangebyscore",
    "zrevrange",
    "zrevrangebylex",
    "zrevrangebyscore",
    "zrevrank",
    "zscan",
    "zscore",
    "zunion",
    "zunionstore",
]
_KEYS = [b"s", b"l", b"h", b"z", b"m", b"n", b"f", b"b", b"none", b"\xff\0"]
_NUMBERS = (
    b"0 -1 1 2 -2 9223372036854775807 -9223372036854775808 -9223372036854775807 9223372036854775808 4294967296 2147483648 "
    b"-2147483649 18446744073709551616 99999999999999999999999 1e300 -1e308 inf -inf nan 1e-320 0x10 +1 01 1_0 "
    b"#9223372036854775807 #-1 u63 u64 i64 i65 (1 [a - +"
).split()
_ODD = [b"", b" 1", b"1 ", b"\0", b"\xff\xfe"]
_OPTIONS = (
    b"EX PX EXAT PXAT KEEPTTL GET SET INCRBY OVERFLOW SAT FAIL LIMIT BYSCORE BYLEX REV WITHSCORES WITHVALUES WEIGHTS "
    b"AGGREGATE SUM COUNT MATCH TYPE NX XX GT LT CH INCR LEFT RIGHT BEFORE AFTER BIT BYTE AND NOT XOR STORE RANK MAXLEN DB "
    b"REPLACE FREQ IDLETIME ENCODING * ? [ a"
).split()


@pytest.fixture
def boot_redis(boot: Boot) -> Iterator[BootRedis]:
    yield from serve(boot)


def _fill(peer: Peer) -> None:
    """A key of each type."""
    peer.ask("DISCARD")
    peer.ask("FLUSHALL")
    for command in (
        "SET s abc", "RPUSH l a 1 b", "HSET h f 1 g x", "ZADD z 1 a 2 b", "SADD m 1 a", "SET n 9223372036854775807", "SET f 1.5",
        "SETBIT b 70 1",
    ):  # fmt: skip
        assert peer.ask(*command.split()) in ("OK", 0, 2, 3), command


def test_every_command_is_answered(boot_redis: BootRedis) -> None:
    guest = boot_redis()
    r = random.Random(SEED)
    with Peer(guest.port) as peer:
        for number in range(COMMANDS):
            if number % _AGAIN == 0:
                _fill(peer)
            words = [
                r.choice(r.choice((_KEYS, _NUMBERS, _ODD, _OPTIONS))) for _ in range(r.choice((0, 1, 2, 3, 3, 4, 6)))
            ]
            words.insert(0, r.choice(_NAMES).encode())
            peer.send(*words)
            try:
                peer.read()
            except (AssertionError, OSError) as exc:
                raise AssertionError(f"command {number} of seed {SEED}: {words}") from exc
        for words in (
            ("EXPIRE", "s", "1", b"\xff"), ("CONFIG", "SET", b"\xff", "1"), ("SRANDMEMBER", "m", -(2**63)),
            ("HRANDFIELD", "h", -(2**62)), ("ZRANDMEMBER", "z", -1_000_000_000, "WITHSCORES"),
        ):  # fmt: skip
            _fill(peer)
            assert str(peer.ask(*words)).startswith(("ERR", "OOM")), words
    assert "error redis" not in guest.stop()
