# SPDX-License-Identifier: MIT
"""images/redis serves redis-cli and redis-benchmark; RESP3, what waits, channels, passwords; what is no protocol."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from floe.testing import Boot
from tests.boot.redisguest import CLI, BootRedis, ErrorAnswer, Peer, as_command, serve

BENCHMARK = shutil.which("redis-benchmark")
ROOT = Path(__file__).resolve().parents[2]
_MANY = 250_000  # arguments


@pytest.fixture
def boot_redis(boot: Boot) -> Iterator[BootRedis]:
    yield from serve(boot)


@pytest.mark.skipif(CLI is None or BENCHMARK is None, reason="SKIP: redis-tools is not installed")
def test_redis_cli_and_benchmark(boot_redis: BootRedis) -> None:
    server = boot_redis()

    def cli(*words: str) -> str:
        argv = [str(CLI), "-p", str(server.port), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout.strip()

    assert cli("set", "greeting", "hello", "EX", "100") == "OK"
    assert cli("get", "greeting") == "hello"
    assert cli("-3", "hset", "h", "a", "1", "b", "2") == "2"
    assert sorted(cli("-3", "hgetall", "h").splitlines()) == ["a 1", "b 2"]
    assert cli("incrby", "greeting", "1") == "ERR value is not an integer or out of range"
    assert "redis_version:7." in cli("info", "server")
    assert sorted(cli("--scan", "--pattern", "gr*").splitlines()) == ["greeting"]
    argv = [str(BENCHMARK), "-p", str(server.port), "-q", "-n", "2000", "-P", "8", "-r", "500"]
    argv += ["-t", "ping_inline,ping_mbulk,set,get,incr,lpush,lrange_100,sadd,spop,hset,zadd,mset"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0 and done.stdout.count("requests per second") >= 12, done.stdout + done.stderr
    assert "rror" not in done.stdout + done.stderr


def test_what_a_client_says_and_hears(boot_redis: BootRedis) -> None:
    server = boot_redis()
    _check_resp3(server.port)
    _check_large_values(server.port)
    _check_frequency(server.port)
    _check_many_bits(server.port)
    _check_many_keys(server.port)
    _check_expiry_and_scan(server.port)
    _check_channels(server.port)
    _check_waiting(server.port)
    _check_transactions(server.port)
    _check_clients(server.port)
    _check_before_login(server.port)
    _check_many_arguments(server.port)
    _check_bad_input(server.port)


def _check_resp3(port: int) -> None:
    with Peer(port) as peer:
        greeting = peer.ask("HELLO", "3")
        assert isinstance(greeting, list) and [b"proto", 3] in greeting
        assert peer.ask("GET", "nothing") is None
        peer.send("GET", "nothing")
        assert peer.line() == b"_"
        peer.ask("ZADD", "r3", "1.5", "m")
        peer.send("ZSCORE", "r3", "m")
        assert peer.line() == b",1.5"
        assert peer.ask("ZRANGE", "r3", 0, -1, "WITHSCORES") == [[b"m", "1.5"]]
        peer.ask("SADD", "rs", "b", "a")
        assert peer.ask("SMEMBERS", "rs") == [b"a", b"b"]
        assert peer.ask("HELLO", "4") == "NOPROTO unsupported protocol version"


def _check_large_values(port: int) -> None:
    large = bytes(range(256)) * 4000 + b"\r\n"
    with Peer(port) as peer:
        assert peer.ask("SET", "large", large) == "OK"
        assert peer.ask("GET", "large") == large
        for _ in range(100):
            peer.send("GETRANGE", "large", 0, 999)
        assert all(peer.read() == large[:1000] for _ in range(100))
        for piece in (b"*2\r", b"\n$3\r\nGE", b"T\r\n$5\r\nlar", b"ge\r", b"\n"):
            peer.sock.sendall(piece)
            time.sleep(0.01)
        assert peer.read() == large
        peer.sock.sendall(b"set inline 'a b'\r\nGET inline\n\r\n")
        assert (peer.read(), peer.read()) == ("OK", b"a b")


def _check_frequency(port: int) -> None:
    with Peer(port) as peer:
        peer.ask("SET", "hot", 1)
        assert str(peer.ask("OBJECT", "FREQ", "hot")).startswith("ERR An LFU maxmemory policy is not selected, access ")
        rules = ("maxmemory-policy", "allkeys-lfu", "lfu-log-factor", 1, "lfu-decay-time", 0)
        assert peer.ask("CONFIG", "SET", *rules) == "OK"
        assert peer.ask("MSET", "hot", 1, "cold", 1) == "OK" and peer.ask("OBJECT", "FREQ", "cold") == 5
        for _ in range(300):
            peer.send("GET", "hot")
        assert all(peer.read() == b"1" for _ in range(300))
        often = peer.ask("OBJECT", "FREQ", "hot")
        assert isinstance(often, int) and 12 < often < 60, "each further count is rarer"
        assert str(peer.ask("OBJECT", "IDLETIME", "hot")).startswith("ERR An LFU maxmemory policy is selected, idle ")
        assert peer.ask("DEL", "hot", "cold") == 2
        assert peer.ask("CONFIG", "SET", "maxmemory-policy", "noeviction") == "OK"


def _check_many_bits(port: int) -> None:
    """More than a loop of bytecode would go over while others wait."""
    with Peer(port) as peer:
        assert peer.ask("SETBIT", "bits", 7_999_999, 1) == 0 and peer.ask("STRLEN", "bits") == 1_000_000
        for _ in range(100):
            peer.send("BITCOUNT", "bits")
            peer.send("BITPOS", "bits", 1)
        assert [peer.read() for _ in range(200)] == [1, 7_999_999] * 100
        assert peer.ask("BITOP", "NOT", "others", "bits") == 1_000_000
        assert peer.ask("BITPOS", "others", 0) == 7_999_999 and peer.ask("BITCOUNT", "others") == 7_999_999
        assert peer.ask("DEL", "bits", "others") == 2


def _check_many_keys(port: int) -> None:
    """They come and go while the table of keys is made anew, and errors stand among what was sent ahead."""
    with Peer(port) as peer:
        peer.ask("SELECT", 4)
        for begin in range(0, 3000, 300):
            for number in range(begin, begin + 300):
                peer.send("SET", f"n{number}", number)
                peer.send("DEL", f"n{number - 100}") if number % 3 else peer.send("LPOP", f"n{number}")
            for number in range(begin, begin + 300):
                assert peer.read() == "OK"
                answer = peer.read()
                assert answer == int(number >= 100) if number % 3 else str(answer).startswith("WRONGTYPE")
        there = [number for number in range(3000) if (number + 100) % 3 == 0 or number >= 2900]
        assert peer.ask("DBSIZE") == len(there)
        assert peer.ask("MGET", *(f"n{number}" for number in there)) == [b"%d" % number for number in there]
        assert peer.ask("FLUSHDB") == "OK"
        names = [f"f{number}" for number in range(2000)]
        for begin in range(0, 2000, 50):
            some = names[begin : begin + 50]
            assert peer.ask("HSET", "h", *(word for name in some for word in (name, name[1:]))) == 50
            assert peer.ask("ZADD", "z", *(word for name in some for word in (name[1:], name))) == 50
            assert peer.ask("HDEL", "h", *some[:10]) == peer.ask("ZREM", "z", *some[:10]) == 10
        assert peer.ask("HMGET", "h", *names) == [
            name[1:].encode() if int(name[1:]) % 50 > 9 else None for name in names
        ]
        assert peer.ask("ZRANGE", "z", 0, -1) == [name.encode() for name in names if int(name[1:]) % 50 > 9]
        assert peer.ask("ZMSCORE", "z", *names) == peer.ask("HMGET", "h", *names)
        assert peer.ask("FLUSHDB") == "OK"


def _check_expiry_and_scan(port: int) -> None:
    with Peer(port) as peer:
        assert peer.ask("SET", "short", "1", "PX", 50) == "OK"
        end = time.monotonic() + 10
        while peer.ask("EXISTS", "short"):
            assert time.monotonic() < end
        assert peer.ask("TTL", "short") == -2
        peer.ask("SELECT", 3)
        for number in range(300):
            peer.send("SET", f"n{number}", number)
        assert all(peer.read() == "OK" for _ in range(300))
        assert peer.ask("DBSIZE") == 300
        found: set[bytes] = set()
        cursor = b"0"
        while True:
            answer = peer.ask("SCAN", cursor, "COUNT", 50)
            assert isinstance(answer, list)
            cursor = answer[0]
            found.update(answer[1])
            peer.ask("SET", b"more" + cursor, "x")  # the table grows meanwhile
            if cursor == b"0":
                break
        assert found >= {b"n%d" % number for number in range(300)}
        assert peer.ask("FLUSHDB") == "OK" and peer.ask("DBSIZE") == 0


def _check_channels(port: int) -> None:
    with Peer(port) as hears, Peer(port) as says:
        assert hears.ask("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
        assert hears.ask("PSUBSCRIBE", "n*") == [b"psubscribe", b"n*", 2]
        refused = hears.ask("GET", "x")
        assert isinstance(refused, ErrorAnswer) and refused.startswith("ERR Can't execute 'get'")
        assert says.ask("PUBLISH", "news", "one") == 2
        assert hears.read() == [b"message", b"news", b"one"]
        assert hears.read() == [b"pmessage", b"n*", b"news", b"one"]
        assert hears.ask("PING") == [b"pong", b""]
        assert says.ask("PUBSUB", "NUMSUB", "news") == [b"news", 1]
        assert hears.ask("UNSUBSCRIBE") == [b"unsubscribe", b"news", 1]
        assert hears.ask("PUNSUBSCRIBE", "n*") == [b"punsubscribe", b"n*", 0]
        assert hears.ask("GET", "x") is None


def _check_waiting(port: int) -> None:
    with Peer(port) as first, Peer(port) as second, Peer(port) as gives:
        first.send("BLPOP", "queue", 0)
        _until_waiting(gives, 1)
        first.send("ECHO", "sent while it waits")
        second.send("BRPOP", "other", "queue", 20)
        _until_waiting(gives, 2)
        assert gives.ask("PING") == "PONG"
        assert gives.ask("RPUSH", "queue", "a", "b") == 2
        assert first.read() == [b"queue", b"a"] and first.read() == b"sent while it waits"
        assert second.read() == [b"queue", b"b"]
        assert gives.ask("EXISTS", "queue") == 0
        assert second.ask("BLPOP", "queue", "0.05") is None
        second.send("BLMOVE", "from", "to", "LEFT", "RIGHT", 20)
        first.send("BZPOPMIN", "scores", 20)
        _until_waiting(gives, 2)
        gives.ask("MULTI")
        gives.ask("RPUSH", "from", "x")
        gives.ask("ZADD", "scores", 2, "m")
        assert gives.ask("EXEC") == [1, 1]
        assert second.read() == b"x" and first.read() == [b"scores", b"m", b"2"]
        assert gives.ask("LRANGE", "to", 0, -1) == [b"x"]


def _until_waiting(peer: Peer, count: int) -> None:
    end = time.monotonic() + 20
    while True:
        said = peer.ask("INFO", "clients")
        assert isinstance(said, bytes)
        if b"blocked_clients:%d\r\n" % count in said:
            return
        assert time.monotonic() < end, said


def _check_transactions(port: int) -> None:
    with Peer(port) as one, Peer(port) as two:
        one.ask("SET", "w", 1)
        assert one.ask("WATCH", "w") == "OK"
        two.ask("SET", "w", 2)
        assert one.ask("MULTI") == "OK" and one.ask("INCR", "w") == "QUEUED"
        assert one.ask("EXEC") is None
        assert one.ask("MULTI") == "OK" and one.ask("INCR", "w") == "QUEUED"
        assert one.ask("LPUSH", "w", "x") == "QUEUED"
        assert one.ask("EXEC") == [3, "WRONGTYPE Operation against a key holding the wrong kind of value"]


def _check_clients(port: int) -> None:
    with Peer(port) as one, Peer(port) as two:
        assert one.ask("CLIENT", "SETNAME", "first") == "OK"
        assert one.ask("CLIENT", "GETNAME") == b"first"
        listed = two.ask("CLIENT", "LIST")
        assert isinstance(listed, bytes) and b" name=first " in listed
        assert two.ask("CLIENT", "KILL", "ID", str(one.ask("CLIENT", "ID"))) == 1
        assert one.at_end()
        assert two.ask("CONFIG", "GET", "max?emor[x-z]") == [b"maxmemory", b"0"]
        assert two.ask("CONFIG", "SET", "requirepass", "new") == "OK"
        with Peer(port) as three:
            assert three.ask("GET", "w") == "NOAUTH Authentication required."
            assert str(three.ask("AUTH", "bad")).startswith("WRONGPASS")
            assert three.ask("AUTH", "default", "new") == "OK" and three.ask("GET", "w") == b"3"
        assert two.ask("CONFIG", "SET", "requirepass", "") == "OK"


def _check_before_login(port: int) -> None:
    """Nobody makes the server keep or go over much who has not the password."""
    with Peer(port) as one:
        assert one.ask("CONFIG", "SET", "requirepass", "new") == "OK"
        for data, problem in (
            (b"*11\r\n", "unauthenticated multibulk length"),
            (b"*11\r\n" + b"$1\r\na\r\n" * 11, "unauthenticated multibulk length"),
            (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "unauthenticated bulk length"),
            (b"AUTH " + b"x" * 16384 + b"\r\n", "too big inline request"),
        ):
            with Peer(port) as two:
                two.sock.sendall(data)
                assert two.read() == f"ERR Protocol error: {problem}"
                with suppress(ConnectionResetError):  # what it had not read is lost
                    assert two.at_end()
        with Peer(port) as two:
            assert two.ask("DEL", *["k"] * 9) == "NOAUTH Authentication required."
            assert str(two.ask("AUTH", b"x" * 16384)).startswith("WRONGPASS")
            two.send("AUTH", "new")  # what was sent behind it has been allowed by it
            two.send("DEL", *["k"] * 11)
            two.send("SET", "k", b"x" * 16385)
            assert [two.read(), two.read(), two.read(), two.ask("DEL", "k")] == ["OK", 0, "OK", 1]
        assert one.ask("CONFIG", "SET", "requirepass", "") == "OK"


def _check_many_arguments(port: int) -> None:
    """What is there of a command is gone over once, not again with each piece: others are answered meanwhile."""
    with Peer(port) as one, Peer(port) as two:
        one.sock.sendall(b"*%d\r\n$3\r\nDEL\r\n" % (_MANY + 1))
        for _ in range(100):
            one.sock.sendall(b"$1\r\na\r\n" * (_MANY // 100))
            assert two.ask("PING") == "PONG"
        assert one.read() == 0


def _check_bad_input(port: int) -> None:
    for data, problem in (
        (b"*1\r\n!x\r\n", "expected '$', got '!'"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n$999999999999\r\n", "invalid bulk length"),
        (b"get 'a\r\n", "unbalanced quotes in request"),
        (b"g" * 70000, "too big inline request"),
    ):
        with Peer(port) as peer:
            peer.sock.sendall(data)
            assert peer.read() == f"ERR Protocol error: {problem}"
            with suppress(ConnectionResetError):  # what it had not read is lost
                assert peer.at_end()
    with Peer(port) as peer:
        assert peer.ask("PING") == "PONG"


def test_redis_py(boot_redis: BootRedis) -> None:
    """What people write with the client of Python."""
    server = boot_redis()
    for protocol in (2, 3):
        with redis.Redis(port=server.port, protocol=protocol, decode_responses=True, socket_timeout=30) as client:
            _check_redis_py(client)
            assert client.flushall()


def _check_redis_py(client: redis.Redis) -> None:
    assert client.ping() and client.set("greeting", "hello", ex=100, get=True) is None
    assert client.get("greeting") == "hello" and 0 < client.ttl("greeting") <= 100
    assert client.hset("h", mapping={"a": 1, "b": "x"}) == 2 and client.hgetall("h") == {"a": "1", "b": "x"}
    assert client.zadd("z", {"a": 1.5, "b": 2}) == 2
    assert [list(each) for each in client.zrange("z", 0, -1, withscores=True)] == [["a", 1.5], ["b", 2.0]]
    assert client.bitfield("f").set("u8", 0, 255).incrby("u8", 0, 10).execute() == [0, 9]
    assert set(client.scan_iter("*", count=2)) == {"greeting", "h", "z", "f"}
    with client.pipeline() as pipe:
        assert pipe.incr("n").rpush("l", "x", "y").lrange("l", 0, -1).execute() == [1, 2, ["x", "y"]]
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.incr("l")
    assert client.transaction(lambda pipe: pipe.multi() or pipe.incrby("n", 5), "n") == [6]
    with client.pubsub() as hears:
        hears.subscribe("news")
        assert hears.get_message(timeout=30)["type"] == "subscribe"
        assert client.publish("news", "one") == 1
        assert hears.get_message(timeout=30)["data"] == "one"
    assert client.info("server")["redis_version"].startswith("7.") and client.get("n") == "6"


def test_settings_metrics_and_a_secret(boot_redis: BootRedis, boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sesame\n")
    server = boot_redis(secrets={"requirepass": tmp_path / "password"}, MAXMEMORY="2M", MAXMEMORY_POLICY="allkeys-lru")
    with Peer(server.port) as peer:
        assert peer.ask("PING") == "NOAUTH Authentication required."
        assert peer.ask("AUTH", "sesame") == "OK"
        for number in range(3000):  # 6 MB
            peer.send("SET", f"k{number}", b"x" * 2000)
            if number % 100 == 99:
                assert all(peer.read() == "OK" for _ in range(100))
                assert peer.ask("GET", "k0") is not None, "it is used all the time"
        assert peer.ask("EXISTS", "k2999") == 1 and peer.ask("EXISTS", "k5") == 0
        assert peer.ask("CONFIG", "SET", "maxmemory-policy", "noeviction") == "OK"
        said: object = "OK"
        for number in range(3000):
            said = peer.ask("SET", f"m{number}", b"x" * 2000)
            if said != "OK":
                break
        assert said == "OOM command not allowed when used memory > 'maxmemory'."
    url = f"http://127.0.0.1:{server.vm.ports[9100]}"
    with urllib.request.urlopen(f"{url}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert "redis_evicted_keys" in text and "redis_connected_clients" in text
    with urllib.request.urlopen(f"{url}/ready", timeout=20) as answer:
        assert answer.status == 200
    server.stop()
    vm = boot("redis", deadline_s=60, memory="64M", env={"APPENDFSYNC": "sometimes"})
    assert vm.wait() == 2
    assert "error redis: APPENDFSYNC=sometimes: always, everysec or no" in vm.console_text


def test_a_silent_client_is_closed(boot_redis: BootRedis) -> None:
    server = boot_redis(TIMEOUT="4")
    with Peer(server.port) as peer:
        end = time.monotonic() + 5.5
        while time.monotonic() < end:
            assert peer.ask("PING") == "PONG"
            time.sleep(0.1)
        assert peer.at_end()


def test_a_client_that_does_not_read(boot_redis: BootRedis) -> None:
    server = boot_redis()
    with Peer(server.port) as peer, Peer(server.port) as other:
        assert peer.ask("SET", "v", b"x" * 100000) == "OK"
        peer.sock.settimeout(0.5)
        with suppress(TimeoutError):
            for _ in range(2000):
                peer.send("GET", "v")
        assert other.ask("PING") == "PONG"
        assert other.ask("STRLEN", "v") == 100000


def test_a_counter_of_uses_goes_down() -> None:
    """By one in so many minutes, which no test can wait for."""
    rules = runpy.run_path(str(ROOT / "images/redis/frequency.py"))["Frequency"]()
    said = rules.used(None, 1000)
    for _ in range(2000):
        said = rules.used(said, 1000)
    count = rules.counter(said, 1000)
    assert 15 < count < 60 and rules.counter(said, 1010) == count - 10 and rules.counter(said, 2000) == 0
    assert rules.counter(rules.used(said, 1010), 1010) <= count - 9
    rules.minutes = 5
    assert rules.counter(said, 1010) == count - 2
    rules.minutes = 0
    assert rules.counter(said, 2000) == count


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=8) | st.just(b"echo 'a b'\r\n")), st.data())
@settings(deadline=None, max_examples=60)
def test_commands_are_read_from_pieces(commands: list[list[bytes] | bytes], draw: st.DataObject) -> None:
    """Each argument is read once: what is left over is never more than one of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            sys.modules, "_resp", SimpleNamespace(bulk=None, bulks=None, integer=None, more=lambda data, at, *_: at)
        )
        reader = runpy.run_path(str(ROOT / "images/redis/resp.py"))["Reader"]()
    sent = b"".join(command if isinstance(command, bytes) else as_command(command) for command in commands)
    found: list[list[bytes]] = []
    rest = b""
    while sent:
        size = draw.draw(st.integers(1, min(len(sent), 50)))
        rest, sent = rest + sent[:size], sent[size:]
        at = 0
        while at < len(rest):
            args, at, need = reader.read(rest, at)
            if args is None:
                assert need > len(rest) - at, "more is needed than is there"
                break
            found.append(args)
        rest = rest[at:]
        assert len(rest) < len(b"$40\r\n") + 42
    assert not rest and reader.begun is None
    assert found == [[b"echo", b"a b"] if isinstance(command, bytes) else command for command in commands]
