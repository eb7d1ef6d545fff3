# SPDX-License-Identifier: MIT
"""images/redis answers as Debian's redis-server does, to the letter, over commands at random.
FLOE_REDIS_COMMANDS sets how many, FLOE_SEED where they begin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.boot.rediscommands import Commands, shown
from tests.boot.redisguest import SERVER, BootRedis, Peer, reference, serve

COMMANDS = int(os.environ.get("FLOE_REDIS_COMMANDS", "5000"))
SEED = int(os.environ.get("FLOE_SEED", "11"))
_AHEAD = 50  # commands that are sent before their answers are read


@pytest.fixture
def boot_redis(boot: Boot) -> Iterator[BootRedis]:
    yield from serve(boot)


@pytest.mark.skipif(SERVER is None, reason="SKIP: redis-server is not installed")
def test_answers_equal_redis_server(boot_redis: BootRedis, tmp_path: Path) -> None:
    commands = Commands(SEED)
    differ = []
    guest = boot_redis()
    with reference(tmp_path / "redis") as port, Peer(guest.port) as ours, Peer(port) as theirs:
        queued: list[list[object]] = []
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
                    mine = [shown(list(each), answer) for each, answer in zip(queued, mine, strict=False)]  # type: ignore[arg-type]
                    reply = [shown(list(each), answer) for each, answer in zip(queued, reply, strict=False)]  # type: ignore[arg-type]
                if str(words[0]) in ("EXEC", "DISCARD"):
                    queued = []
                if shown(words, mine) != shown(words, reply):
                    differ.append(f"{words}: {mine!r} instead of {reply!r}")
            assert len(differ) < 20, "\n".join(differ)
    assert differ == []
