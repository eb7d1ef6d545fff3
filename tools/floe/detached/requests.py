# SPDX-License-Identifier: MIT
"""A request to a VM's keeper: a line of JSON on its socket. Fields that this version does not know are passed over, as
one of another version may send them."""

from __future__ import annotations

import msgspec


class BadRequest(ValueError):
    """No request: no JSON, or a field of another kind than it has."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """do: what for. child: whom of the VM's family it is about. timeout: seconds of grace. until: when it ends, by
    time.monotonic(). file: a path. rate: how often a second."""

    do: str = ""
    child: str | None = None
    timeout: float = 0.0
    until: float | None = None
    file: str = ""
    rate: float = 100.0


def read(line: bytes) -> Request:
    """Raises BadRequest. Every number is one: JSON as msgspec reads it has no NaN and no infinity."""
    try:
        return msgspec.json.decode(line, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise BadRequest(str(e)) from None
