# SPDX-License-Identifier: MIT
"""Requests to a keeper and its answers: what is one, and what is refused in words."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from floe.detached import control
from floe.detached.requests import BadRequest, Request, read
from floe.errors import VmError


def test_a_request_has_what_was_said() -> None:
    assert read(b'{"do": "stop", "timeout": 3, "child": "web.1"}\n') == Request(do="stop", timeout=3.0, child="web.1")
    assert read(b'{"do": "claim", "until": 12.5}') == Request(do="claim", until=12.5)
    assert read(b'{"do": "profile", "timeout": 1, "rate": 50}') == Request(do="profile", timeout=1.0, rate=50.0)


def test_what_another_version_adds_is_passed_over() -> None:
    assert read(b'{"do": "status", "more": [{"x": 1}]}') == Request(do="status")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status\n",
        b'["status"]\n',
        b'{"do": 1}',
        b'{"do": "stop", "timeout": []}',
        b'{"do": "stop", "timeout": NaN}',
        b'{"do": "stop", "timeout": 1e999}',
        b'{"do": "stop", "timeout": "5"}',
        b'{"do": "\xff"}',
        b'{"more": ' + b"[" * 20000,
    ],
)
def test_all_else_is_refused_in_words(line: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        read(line)
    assert str(raised.value)


def _answered(monkeypatch: pytest.MonkeyPatch, said: bytes) -> Any:
    """The folder of a VM whose keeper says this."""

    def connect(folder: Any, timeout_s: float) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        folder.theirs = theirs
        return ours

    monkeypatch.setattr(control, "_connect", connect)
    return SimpleNamespace(name="web", keeper=1)


@pytest.mark.parametrize("said", [b"[1]\n", b"nothing\n", b"\xff\n", b'{"a": ' + b"[" * 5000 + b"\n"])
def test_an_answer_that_is_none_is_told_in_words(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    with pytest.raises(VmError, match="the keeper of web answers what floe does not understand") as raised:
        control.ask(_answered(monkeypatch, said), {"do": "status"})
    assert "floe stop" in raised.value.hint


@pytest.mark.parametrize("said", [b"{}\n", b'{"status": "x"}\n', b'{"children": [1]}\n'])
def test_so_is_one_with_other_fields(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    folder = _answered(monkeypatch, said)
    with pytest.raises(VmError, match="does not understand"):
        control.child_runs(folder, "web.1")


def test_the_answer_of_an_older_keeper_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    old = b'{"client": null, "dropped": 0, "resets": 0, "pty": "/dev/pts/1", "port": 0, "unix": "/u", "end": null}\n'
    assert not control.child_runs(_answered(monkeypatch, old), "web.1")
    assert control.ask(_answered(monkeypatch, b'{"do'), {"do": "status"}) is None  # it left before it had said all
