# SPDX-License-Identifier: MIT
"""A detached VM's keeper and who asks it. Whatever comes on its socket is answered, or refused with a word in its log, and
what it does for it gets values of the right kind; its VM is a fake. Whatever a keeper answers is an answer, or refused in
words; so is what a QEMU says on its monitor's socket that a guest has taken over."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import msgspec

from floe.cli import trace
from floe.detached import control
from floe.detached.keeper import Keeper
from floe.detached.requests import Request
from floe.errors import FloeError
from floe.profile import chrome, summary
from floe.profile.samples import Samples
from floe.qemu import qmp
from floe.store.records import End, Life, Spec

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


# ---- its answers ---------------------------------------------------------------------------------

ANSWERS = (
    b'\x00{"client":null,"dropped":0,"log_lost":0,"resets":1,"restarts":0,"began":1.5,"restarting":false,"waiting":false,'
    b'"children":[{"name":"web.1","number":2,"parent":"web","host":"","pid":12,"began":2.5,"addresses":[["10.0.0.2","10.0.0.3"]],'
    b'"ports":[{"host_port":8080,"guest_port":80}]}],"pty":"/dev/pts/1","port":0,"unix":"/tmp/u","end":null}\n',
    b'\x00{"client":"x","dropped":0,"resets":0,"pty":"","port":0,"unix":"","end":null}\n',  # of an older keeper
    b'\x01{"status":256}\n',
    b'\x02{"size":4096}\n',
    b'\x02{"error":"cannot write","evidence":"","hint":""}\n',
    b'\x03{"seconds":0.5,"lost":1,"idle":2,"stacks":[[[["main.py",3,"f"]],"add",4]]}\n',
    b'\x04{"at":1000,"cards":{"0":true},"notes":["x"]}\n{"looks":[{"at":[3000,3100],"spans":[[1,5,7],[0,8,0]],'
    b'"packets":[[0,true,9,60,"ffff"],[0,false,10,60,"00"]],"stack":[["main.py",3,"f"]],"lost":[0,1]}]}\n{"over":""}\n',
    b'\x04{"at":"x"}\n',  # were crashes: a moment that is none, a look that lacks something, a head that is not hexadecimal
    b'\x04{"at":1,"cards":{},"notes":[]}\n{"looks":[{"at":[3,4]}]}\n',
    b'\x04{"at":1,"cards":{"0":true},"notes":[]}\n{"looks":[{"at":[3,4],"spans":[],"packets":[[0,true,9,60,"zz"]],"stack":null,'
    b'"lost":[0,0]}]}\n',
    b"\x00[1]\n",  # were crashes: no object, no JSON, a field that is missing or of another kind, deeper than Python's stack
    b"\x00nothing\n",
    b"\x00{}\n",
    b'\x01{"status":[]}\n',
    b'\x03{"seconds":"long"}\n',
    b"\x00" + b"[" * 4000 + b"\n",
)
_SPEC = Spec(
    name="web",
    app="web",
    profile="dev",
    argv=[],
    memory=1,
    accel="tcg",
    machine="q35",
    ports=[],
    created=0.0,
    sockets="/",
)


class _Connection:
    """To a keeper that answers this, in two pieces, and leaves."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self._left = [said[: len(said) // 2], said[len(said) // 2 :], b""]

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *error: object) -> None: ...

    def sendall(self, data: bytes) -> None:
        assert data.endswith(b"\n")

    def makefile(self, mode: str, encoding: str) -> io.TextIOWrapper:
        return io.TextIOWrapper(
            cast(Any, io.BufferedRWPair(cast(Any, io.BytesIO(self._said)), cast(Any, io.BytesIO()))), encoding
        )

    def recv(self, size: int) -> bytes:
        return self._left.pop(0) if self._left else b""


def answered(data: bytes, folder: Path) -> None:
    """What a command makes of a keeper's answer: a value of the right kind, or an error in words."""
    fake: Any = SimpleNamespace(name="web", path=folder, spec=_SPEC, keeper=1, vm=SimpleNamespace(pid=1))
    fake.end, fake.life = End(code=0, cause="exit", at=1.0), Life()  # what is written down, where it says that it ended
    which, said = data[0] % 5 if data else 0, data[1:]
    if which != 4:  # a trace is of many lines
        said = said.partition(b"\n")[0] + b"\n"
    with mock.patch.object(control, "_connect", lambda folder, timeout_s: _Connection(said)):
        try:
            if which == 0:
                status = control.status(fake)
                assert json.loads(json.dumps([one.as_dict() for _, one in control.tree(status)]))
                assert isinstance(control.child_runs(fake, "web.1"), bool)
            elif which == 1:
                assert isinstance(control.stop_child(fake, "web.1", 0), int)
            elif which == 2:
                assert isinstance(control.snapshot(fake, folder / "x"), int)
            elif which == 4:
                with contextlib.redirect_stderr(io.StringIO()):
                    line = trace._traced("web", fake, 0.1, 10)
                assert "\n".join(summary.lines("web", line)).startswith("web: ")
                chrome.write(file := io.StringIO(), "web", line)
                assert json.loads(file.getvalue())
            elif (told := control.profile(fake, 0.1, 10)) is not None:
                found = Samples()
                with contextlib.suppress(msgspec.ValidationError):
                    found.add(told)
                assert found.count >= 0 or found.stacks
        except FloeError as e:
            assert str(e)


# ---- a QEMU's monitor ----------------------------------------------------------------------------

QMP = (
    b'{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}\r\n'
    b'{"return": {}, "id": "first"}\r\n{"return": {}, "id": "second"}\r\n'
    b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\r\n'
    b'{"return": "RIP=00000000001012ab RFL=00000046", "id": "__qmp#00000"}\r\n'
    b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}\r\n',
    b'{"QMP": {"version": {}, "capabilities": []}}\r\n{"error": {"class": "GenericError", "desc": "x"}, "id": "__qmp#00000"}\r\n',
)


def monitored(data: bytes, folder: Path) -> None:
    """Whatever comes, the watch ends when the connection does, and events have names and data."""

    def on_event(name: str, data: Any) -> None:
        assert isinstance(name, str) and hasattr(data, "get")

    async def watch() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            commands = qmp.Commands()
            theirs.sendall(data[:4096])
            theirs.shutdown(socket.SHUT_WR)
            asking = asyncio.create_task(qmp.instruction(commands))
            await asyncio.wait_for(qmp.watch(ours, on_event, commands), 20)
            assert commands.over
            with contextlib.suppress(FloeError):
                assert await asyncio.wait_for(asking, 20) >= 0

    asyncio.run(watch())
