# SPDX-License-Identifier: MIT
"""A request to a VM's keeper: a line of JSON on its socket; and its answer, which is another. Fields that this version
does not know are passed over, as one of another version may send them."""

from __future__ import annotations

from typing import Any

import msgspec


class BadRequest(ValueError):
    """No request: no JSON, or a field of another kind than it has."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """do: what for. child: whom of the VM's family it is about. timeout: seconds of grace. until: when it ends, by
    time.monotonic(). file: a path. rate: how often a second. exits: count those, too."""

    do: str = ""
    child: str | None = None
    timeout: float = 0.0
    until: float | None = None
    file: str = ""
    rate: float = 100.0
    exits: bool = False


def read(line: bytes) -> Request:
    """Raises BadRequest. Every number is one: JSON as msgspec reads it has no NaN and no infinity."""
    try:
        return msgspec.json.decode(line, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise BadRequest(str(e)) from None


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One of a VM's family, as `floe ps` shows it."""

    name: str
    parent: str
    began: float
    ports: list[dict[str, Any]]
    pid: int | None = None
    host: str = ""
    addresses: tuple[tuple[str, str], ...] = ()


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to "status". end: how it ended; of a keeper of an older floe's some are not there."""

    pty: str
    port: int
    unix: str
    client: str | None
    dropped: int
    resets: int
    end: dict[str, Any] | None
    restarts: int = 0
    began: float = 0.0
    restarting: bool = False
    waiting: bool = False
    children: tuple[Child, ...] = ()


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to what may fail. size: bytes of a snapshot; status: of a child that was ended, as waitpid() has."""

    error: str | None = None
    evidence: str | None = None
    hint: str | None = None
    size: int = 0
    status: int | None = None
