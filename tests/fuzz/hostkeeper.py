# SPDX-License-Identifier: MIT
"""Requests to the keeper of a detached VM: whatever comes on its socket is answered, or refused with a word in its log; and
what it does for it gets values of the right kind. Its VM is a fake."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from floe.detached.keeper import Keeper
from floe.detached.requests import Request
from floe.store.records import End, Life

SEEDS = (
    b'{"do": "status"}\n',
    b'{"do": "stop", "timeout": 2.5}\n',
    b'{"do": "stop", "child": "web.1", "timeout": 0}\n',
    b'{"do": "stop", "timeout": NaN}\n',  # was a crash: a timer of no time, after which the keeper's other timers did not come
    b'{"do": "claim", "until": 12.5}\n{"do": "dismiss"}\n',
    b'{"do": "snapshot", "file": "/tmp/a.snapshot"}\n',
    b'{"do": "vitals", "child": "web.1"}\n',
    b'{"do": "profile", "timeout": 0.5, "rate": 100}\n',
    b'["status"]\n',  # was a crash: no object
    b'{"do": "stop", "timeout": []}\n',  # was a crash: no number
    b"[" * 4000,  # was a crash: deeper than Python's stack
)


class _Kin:
    """A family of one child."""

    async def stop(self, name: str, grace_s: float) -> int | None:
        assert isinstance(name, str) and math.isfinite(grace_s)
        return 0 if name == "web.1" else None

    async def snapshot(self, path: Path, app: str) -> int:
        assert isinstance(path, Path)
        return 4096

    async def let_go(self) -> bool:
        return True

    def told(self) -> list[dict[str, Any]]:
        return [{"name": "web.1", "pid": 1}]


class _Sampler:
    async def answer(self, process: Any, request: Request, over: Callable[[], bool]) -> dict[str, Any]:
        assert math.isfinite(request.timeout) and math.isfinite(request.rate) and not over()
        return {"seconds": 0.5, "lost": 0, "idle": 0, "stacks": []}


class _Keeper(Keeper):
    """Of a keeper what answers requests."""

    def __init__(self, *, waiting: bool) -> None:
        fakes: dict[str, Any] = {
            "_folder": SimpleNamespace(name="web"),
            "_hub": SimpleNamespace(look_for_the_end=lambda: None, client=None, dropped=0),
            "_log": SimpleNamespace(lost=0),
            "_process": SimpleNamespace(resets=0),
            "_spec": SimpleNamespace(app="web", origin=""),
            "_life": Life(waiting=waiting),
            "_kin": _Kin(),
            "_over": asyncio.Event(),
            "_serving": set(),
            "_sampler": _Sampler(),
        }
        self.__dict__ |= fakes
        self._resets, self._stopping = 0, False
        self._last = self._end = self._endpoints = None

    def _set_life(self, **changes: float) -> None: ...

    def _vitals(self, child: str | None) -> dict[str, Any] | None:
        assert child is None or isinstance(child, str)
        return None

    def stop(self, grace_s: float) -> None:
        assert math.isfinite(grace_s)
        self._end = End(code=0, cause="stopped", at=0.0)
        self._over.set()


class _Writer:
    def __init__(self) -> None:
        self.said, self.closed = b"", False

    def write(self, data: bytes) -> None:
        self.said += data

    async def drain(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def feed(data: bytes, folder: Path) -> None:
    """One connection to the keeper."""

    async def talk() -> bytes:
        keeper, reader, writer = _Keeper(waiting=len(data) % 2 == 0), asyncio.StreamReader(limit=1 << 16), _Writer()
        reader.feed_data(data)
        reader.feed_eof()
        await keeper._serve(reader, cast(Any, writer))
        assert writer.closed
        return writer.said

    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        said = asyncio.run(talk())
    if said:
        assert isinstance(json.loads(said), dict) and said.endswith(b"\n") and said.count(b"\n") == 1
    else:
        assert log.getvalue().startswith("bad request: ")
