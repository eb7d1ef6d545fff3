# SPDX-License-Identifier: MIT
"""The append-only file of images/redis: what was acknowledged is there after a kill with appendfsync always; loading,
rewriting, broken files, a full disk. FLOE_REDIS_KILLS sets how often QEMU is killed, FLOE_SEED when."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.boot.rediscommands import Commands
from tests.boot.redisguest import SERVER, BootRedis, Peer, Redis, reference, serve
from tests.support.command import floe

KILLS = int(os.environ.get("FLOE_REDIS_KILLS", "10"))
SEED = int(os.environ.get("FLOE_SEED", "11"))
_WRITERS = 4
_END_S = 30.0


@pytest.fixture
def boot_redis(boot: Boot) -> Iterator[BootRedis]:
    yield from serve(boot)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return new_disk(tmp_path / "redis.img", "16M")


def new_disk(image: Path, size: str, log: bytes | None = None) -> Path:
    """With this as its append-only file."""
    assert floe("disk", "create", image, "--size", size).returncode == 0
    if log is not None:
        file = image.with_suffix(".aof")
        file.write_bytes(log)
        assert floe("disk", "cp", image, file, ":/appendonly.aof").returncode == 0
    return image


def log_of(image: Path) -> bytes:
    file = image.with_suffix(".copy")
    assert floe("disk", "cp", image, ":/appendonly.aof", file).returncode == 0
    return file.read_bytes()


class Writer(threading.Thread):
    """Counts a key up until the server is gone; `sure` is the last number that was acknowledged."""

    def __init__(self, port: int, key: str, sure: int) -> None:
        super().__init__(daemon=True)
        self.key, self.sure = key, sure
        self._peer = Peer(port)

    def run(self) -> None:
        with suppress(OSError, AssertionError), self._peer as peer:
            while peer.ask("SET", self.key, self.sure + 1) == "OK":
                self.sure += 1


def _killed_while_writing(redis: Redis, sure: dict[str, int], after_s: float) -> None:
    writers = [Writer(redis.port, key, number) for key, number in sure.items()]
    for writer in writers:
        writer.start()
    time.sleep(after_s)
    redis.vm.kill()
    for writer in writers:
        writer.join(_END_S)
        assert not writer.is_alive()
        sure[writer.key] = writer.sure


def test_no_acknowledged_write_is_lost(boot_redis: BootRedis, disk: Path) -> None:
    chance = random.Random(SEED)
    sure = {f"n{number}": 0 for number in range(_WRITERS)}
    for _ in range(KILLS):
        redis = boot_redis(disk, APPENDONLY="yes", APPENDFSYNC="always", REWRITE_SIZE="16K")
        with Peer(redis.port) as peer:
            for key, number in sure.items():
                answer = peer.ask("GET", key)
                found = int(answer) if isinstance(answer, bytes) else 0
                assert number <= found <= number + 1, f"{key}: {number} was acknowledged, {found} is there"
                sure[key] = found
        _killed_while_writing(redis, sure, chance.uniform(0.05, 0.5))
    assert sum(sure.values()) > KILLS


def state_of(port: int) -> dict[bytes, object]:
    """All keys of database 0: type, whether it expires, value."""
    state: dict[bytes, object] = {}
    with Peer(port) as peer:
        keys = peer.ask("KEYS", "*")
        assert isinstance(keys, list)
        for key in sorted(keys):
            kind = str(peer.ask("TYPE", key))
            value = {
                "string": lambda key=key: peer.ask("GET", key),
                "list": lambda key=key: peer.ask("LRANGE", key, 0, -1),
                "zset": lambda key=key: peer.ask("ZRANGE", key, 0, -1, "WITHSCORES"),
                "set": lambda key=key: sorted(peer.ask("SMEMBERS", key)),
                "hash": lambda key=key: sorted(_pairs(peer.ask("HGETALL", key))),
            }[kind]()
            state[key] = (kind, peer.ask("PEXPIRETIME", key), value)
    return state


def _pairs(flat: object) -> list[tuple[bytes, bytes]]:
    assert isinstance(flat, list)
    return list(zip(flat[::2], flat[1::2], strict=True))


def test_the_log_makes_the_same_keys(boot_redis: BootRedis, disk: Path, tmp_path: Path) -> None:
    commands = Commands(SEED)
    redis = boot_redis(disk, APPENDONLY="yes", APPENDFSYNC="no", REWRITE_SIZE="40K")
    with Peer(redis.port) as peer:
        for _ in range(2000):
            words = commands.next()
            if words[0] not in ("RENAME", "COPY", "MOVE") or "DB" not in words:
                peer.ask(*words)
        peer.ask("DISCARD")
        peer.ask("SPOP", "fresh")
        peer.ask("BGREWRITEAOF")
        for _ in range(300):
            peer.ask(*commands.next())
        peer.ask("DISCARD")
    before = state_of(redis.port)
    redis.stop()
    again = boot_redis(disk, APPENDONLY="yes")
    assert state_of(again.port) == before
    again.stop()
    if SERVER is None:
        pytest.skip("SKIP: redis-server is not installed")
    folder = tmp_path / "reference"
    folder.mkdir()
    (folder / "appendonly.aof").write_bytes(log_of(disk))
    with reference(folder, "--appendonly", "yes") as port:
        assert state_of(port) == before


def test_files_that_are_not_whole(boot_redis: BootRedis, boot: Boot, tmp_path: Path) -> None:
    whole = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
    torn = whole + b"*1\r\n$5\r\nMULTI\r\n" + whole + b"*3\r\n$3\r\nSET\r\n$1\r\nb"
    image = new_disk(tmp_path / "torn.img", "4M", torn)
    redis = boot_redis(image, APPENDONLY="yes")
    said = f"/appendonly.aof: cut off after byte {len(whole)}: {len(torn) - len(whole)} bytes of an unfinished command"
    assert said in redis.vm.console_text
    with Peer(redis.port) as peer:
        assert peer.ask("GET", "a") == b"1" and peer.ask("EXISTS", "b") == 0
        peer.ask("SET", "c", 3)
    redis.stop()
    assert log_of(image).startswith(whole + b"*2\r\n$6\r\nSELECT")
    for number, (log, problem) in enumerate(
        (
            (whole + b"nonsense\r\n" + whole, f"byte {len(whole)}: no command"),
            (whole + b"*0\r\n", f"byte {len(whole)}: no command"),
            (b"*1\r\n$4\r\nNOPE\r\n", "ERR unknown"),
        )
    ):
        image = new_disk(tmp_path / f"broken{number}.img", "4M", log)
        vm = boot("redis", deadline_s=60, memory="64M", env={"APPENDONLY": "yes"}, disks=[str(image)])
        assert vm.wait() == 3
        assert "error redis: /appendonly.aof cannot be loaded: " in vm.console_text and problem in vm.console_text
    vm = boot("redis", deadline_s=60, memory="64M", env={"APPENDONLY": "yes"})
    assert vm.wait() == 3
    assert "is there a disk that can be written?" in vm.console_text


def test_a_full_disk(boot_redis: BootRedis, tmp_path: Path) -> None:
    image = new_disk(tmp_path / "small.img", "1M")
    redis = boot_redis(image, APPENDONLY="yes", APPENDFSYNC="always", REWRITE_SIZE="100M")
    sure = 0
    with Peer(redis.port) as peer, suppress(OSError, AssertionError):
        while peer.ask("SET", f"k{sure % 10}", b"%d " % sure + b"x" * 5000) == "OK":
            sure += 1
    assert sure > 20
    with Peer(redis.port) as peer:
        assert str(peer.ask("SET", "more", 1)).startswith("MISCONF Errors writing to the AOF file: ")
        assert peer.ask("PING") == "PONG"
        assert b"aof_last_write_status:err" in bytes(peer.ask("INFO", "persistence"))  # type: ignore[arg-type]  # bytes, of all that an answer may be
        assert isinstance(peer.ask("GET", "k0"), bytes)
    redis.stop()
    assert floe("disk", "grow", image, "4M").returncode == 0
    again = boot_redis(image, APPENDONLY="yes", APPENDFSYNC="always")
    with Peer(again.port) as peer:
        value = peer.ask("GET", f"k{(sure - 1) % 10}")
        assert isinstance(value, bytes) and value.startswith(b"%d " % (sure - 1))
        assert peer.ask("SET", "more", 1) == "OK"
