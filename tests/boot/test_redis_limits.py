# SPDX-License-Identifier: MIT
"""images/redis: what clients send before it can be run has an end, that of one argument and that of all together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from floe.testing import Boot
from tests.boot.redisguest import BootRedis, Peer, as_command, serve


@pytest.fixture
def boot_redis(boot: Boot) -> Iterator[BootRedis]:
    yield from serve(boot)


def test_limits(boot_redis: BootRedis) -> None:
    server = boot_redis()
    _check_longest(server.port)
    _check_held(server.port)
    _check_no_memory(server.port)


def _check_longest(port: int) -> None:
    """An argument is no longer than the VM can hold."""
    with Peer(port) as one:
        name = "proto-max-bulk-len"
        answer = one.ask("CONFIG", "GET", name)
        assert isinstance(answer, list) and 5 << 20 < int(answer[1]) < 8 << 20, "an eighth of 64 MiB"
        with Peer(port) as two:
            two.sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (int(answer[1]) + 1))
            assert two.read() == "ERR Protocol error: invalid bulk length"
            with suppress(ConnectionResetError):
                assert two.at_end()
        failed = f"ERR CONFIG SET failed (possibly related to argument '{name}') - "
        for bad, said in (
            ("1023kb", "must be between 1048576 and 536870912 inclusive"),
            ("x", "must be a memory value"),
        ):
            assert one.ask("CONFIG", "SET", name, bad) == f"{failed}argument {said}"
        assert one.ask("CONFIG", "SET", name, "1mb") == "OK"
        assert one.ask("SET", "k", b"x" * (1 << 20)) == "OK"
        assert one.ask("APPEND", "k", "x") == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        assert str(one.ask("SETRANGE", "k", (1 << 20) - 1, "xx")).endswith("(proto-max-bulk-len)")
        assert one.ask("STRLEN", "k") == 1 << 20
        with Peer(port) as two:
            two.sock.sendall(b"*2\r\n$3\r\nGET\r\n$1048577\r\n")
            assert two.read() == "ERR Protocol error: invalid bulk length"
        assert one.ask("CONFIG", "SET", name, answer[1]) == "OK"


def _check_held(port: int) -> None:
    """What many begin together, or one in MULTI, has an end too: whoever holds most of it goes, and is told."""
    most = "ERR of all clients' unfinished commands this one's took the most memory (maxmemory-clients)"
    with Peer(port) as one, Peer(port) as two, Peer(port) as three:
        name, size = "maxmemory-clients", 500_000
        before = one.ask("CONFIG", "GET", name)
        assert isinstance(before, list) and one.ask("CONFIG", "SET", name, "2mb") == "OK"
        command = as_command([b"SET", b"k", b"x" * size])
        two.sock.sendall(command[:-9])
        three.sock.sendall(command[:-8])
        with Peer(port) as four:
            four.sock.sendall(as_command([b"SET", b"k", b"x" * 3 * size])[:-9])
            assert four.read() == most
            with suppress(ConnectionResetError):
                assert four.at_end()
        two.sock.sendall(command[-9:])
        three.sock.sendall(command[-8:])
        assert (two.read(), three.read(), one.ask("STRLEN", "k")) == ("OK", "OK", size)
        assert two.ask("MULTI") == "OK"
        assert [two.ask("SET", f"q{number}", b"x" * size) for number in range(4)] == ["QUEUED"] * 4
        with suppress(ConnectionError):
            two.send("SET", "q4", b"x" * size)
        said = two.read()
        assert (two.read() if said == "QUEUED" else said) == most and one.ask("EXISTS", "q0") == 0
        for _ in range(5):
            assert three.ask("MULTI") == "OK" and three.ask("SET", "k", b"x" * size) == "QUEUED"
            assert three.ask("EXEC") == ["OK"]
        assert one.ask("CONFIG", "SET", name, before[1]) == "OK"


def _check_no_memory(port: int) -> None:
    """Where nothing is bounded the one whose command does not fit is told so, and the others are served."""
    with Peer(port) as one, Peer(port) as two:
        rules = ["maxmemory-clients", "proto-max-bulk-len"]
        before = [one.ask("CONFIG", "GET", rule) for rule in rules]
        assert one.ask("CONFIG", "SET", rules[0], 0, rules[1], "512mb") == "OK"
        with suppress(ConnectionError):
            two.sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$30000000\r\n")
            for _ in range(30):
                two.sock.sendall(bytes(1_000_000))
                assert one.ask("PING") == "PONG"
            two.sock.sendall(b"\r\n")
        assert two.read() == "OOM command not allowed when used memory > 'maxmemory'."
        assert one.ask("SET", "k", b"x" * 100_000) == "OK" and one.ask("STRLEN", "k") == 100_000
        for rule, answer in zip(rules, before, strict=True):
            assert isinstance(answer, list) and one.ask("CONFIG", "SET", rule, answer[1]) == "OK"


@pytest.mark.any_accel
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("PORT=70000", "PORT=70000: expected a port, 0 to 65535"),
        ("MAXCLIENTS=0", "MAXCLIENTS=0: 1 or more"),
        ("TIMEOUT=-1", "TIMEOUT=-1: seconds, or 0 for never"),
    ],
)
def test_settings_that_cannot_be(boot: Boot, setting: str, said: str) -> None:
    name, _, value = setting.partition("=")
    vm = boot("redis", deadline_s=60, env={name: value})
    assert vm.wait() == 2
    assert vm.console_text == f"error redis: {said}\n"
