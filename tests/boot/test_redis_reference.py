# SPDX-License-Identifier: MIT
"""images/redis answers as Debian's redis-server does, to the letter, over commands at random.
FLOE_REDIS_COMMANDS sets how many, FLOE_SEED where they begin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.boot.rediscommands import Commands, Word, shown
from tests.boot.redisguest import SERVER, BootRedis, Peer, reference, serve

COMMANDS = int(os.environ.get("FLOE_REDIS_COMMANDS", "5000"))
SEED = int(os.environ.get("FLOE_SEED", "11"))
_AHEAD = 50  # commands that are sent before their answers are read


@pytest.fixture
def boot_redis(boot: Boot) -> Iterator[BootRedis]:
    yield from serve(boot)


def version(server: Peer) -> tuple[int, ...]:
    """Of a redis-server: up to 7.0 it writes a score with 17 digits, as images/redis does; since 7.2 with as few as say it."""
    told = server.ask("INFO", "server")
    assert isinstance(told, bytes)
    found = re.search(rb"redis_version:(\d+)\.(\d+)", told)
    assert found is not None, told
    return int(found[1]), int(found[2])


def each_shown(queued: list[list[Word]], answers: list[object], *, by_value: bool) -> list[object]:
    """What EXEC answers, one for each command."""
    return [shown(words, answer, by_value=by_value) for words, answer in zip(queued, answers, strict=False)]


@pytest.mark.skipif(SERVER is None, reason="SKIP: redis-server is not installed")
def test_answers_equal_redis_server(boot_redis: BootRedis, tmp_path: Path) -> None:
    commands = Commands(SEED)
    differ = []
    guest = boot_redis()
    with reference(tmp_path / "redis") as port, Peer(guest.port) as ours, Peer(port) as theirs:
        by_value = version(theirs) >= (7, 2)
        queued: list[list[Word]] = []
        for _ in range(COMMANDS // _AHEAD):
            batch = [commands.next() for _ in range(_AHEAD)]
            for words in batch:
                ours.send(*words)
                theirs.send(*words)
            for words in batch:
                mine, reply = ours.read(), theirs.read()
                if reply == "QUEUED":
                    queued.append(list(words))
                elif str(words[0]) == "EXEC" and isinstance(reply, list) and isinstance(mine, list):
                    mine = each_shown(queued, mine, by_value=by_value)
                    reply = each_shown(queued, reply, by_value=by_value)
                if str(words[0]) in ("EXEC", "DISCARD"):
                    queued = []
                if shown(words, mine, by_value=by_value) != shown(words, reply, by_value=by_value):
                    differ.append(f"{words}: {mine!r} instead of {reply!r}")
            assert len(differ) < 20, "\n".join(differ)
    assert differ == []
