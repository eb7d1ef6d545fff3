# SPDX-License-Identifier: MIT
"""images/redis, and redis-server where it is there, answer as the rows of redisrows.py say."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.boot.redisguest import SERVER, BootRedis, ErrorAnswer, Peer, reference, serve
from tests.boot.redisrows import groups


@pytest.fixture
def boot_redis(boot: Boot) -> Iterator[BootRedis]:
    yield from serve(boot)


def words(command: str) -> list[bytes]:
    escaped = [word.encode("latin-1").decode("unicode_escape") for word in shlex.split(command.replace("\\", "\\\\"))]
    return [word.encode("latin-1") for word in escaped]


def plain(answer: object) -> object:
    if isinstance(answer, list):
        return [plain(each) for each in answer]
    return answer.decode("latin-1") if isinstance(answer, bytes) else answer


def differs(answer: object, wanted: str, *, ordered: bool) -> bool:
    if wanted[0] == "-" and not wanted[1:].isdigit():
        return not (isinstance(answer, ErrorAnswer) and answer.startswith(wanted[1:]))
    value = ast.literal_eval(re.sub(r"\bnil\b", "None", wanted))
    told = plain(answer)
    if not ordered and isinstance(told, list):
        told = sorted(told, key=repr)
    return told != value


def differences(port: int) -> list[str]:
    found = []
    with Peer(port) as peer:
        for name, rows in groups():
            assert peer.ask("FLUSHALL") == "OK"
            for command, wanted in rows:
                answer = peer.ask(*words(command.removeprefix("~")))
                if differs(answer, wanted, ordered=not command.startswith("~")):
                    found.append(f"{name}: {command}: {answer!r} instead of {wanted}")
    return found


def test_rows(boot_redis: BootRedis) -> None:
    assert differences(boot_redis().port) == []


@pytest.mark.skipif(SERVER is None, reason="SKIP: redis-server is not installed")
def test_the_rows_are_true_of_redis_server(tmp_path: Path) -> None:
    with reference(tmp_path / "redis") as port, Peer(port) as peer:
        told = peer.ask("INFO", "server")
        assert isinstance(told, bytes)
        if b"redis_version:7.0" not in told:
            pytest.skip("SKIP: redis-server is not 7.0")
        assert differences(port) == []
