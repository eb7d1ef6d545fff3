# SPDX-License-Identifier: MIT
"""images/dns/notifier.py without a VM: when it tries again, and when it gives up, also where memory is short."""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.boot import dnsguest
from tests.boot.handloop import Loop

assert dnsguest.IMAGE  # puts the image's folder into sys.path
NAME = b"\1a\7example\0"
ZONE = SimpleNamespace(soa=lambda: (60, b"soa"))
WAITS = [2000, 4000, 8000, 16000, 32000]  # ms after each try


class WatchingLoop(Loop):
    def watch(self, sock: socket.socket, target: object, events: int) -> None:
        """The test calls ready() itself."""


class Setup:
    """A notifier, whom it tells, and what it logs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, target: socket.socket) -> None:
        monkeypatch.setitem(sys.modules, "appliance.loop", SimpleNamespace(IN=1))  # type: ignore[arg-type]  # serves as one
        self.target = target
        self.loop = WatchingLoop()
        self.warnings: list[str] = []
        log = SimpleNamespace(warning=lambda text, *args: self.warnings.append(text % args))
        self.notifier: Any = importlib.import_module("notifier").Notifier(SimpleNamespace(loop=self.loop, log=log))
        self.zone = SimpleNamespace(name=NAME, key=None, notify=[target.getsockname()])

    def heard(self) -> tuple[bytes, Any]:
        return self.target.recvfrom(512)


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        target.settimeout(20)
        yield Setup(monkeypatch, target)


def test_who_does_not_answer_is_told_five_times(setup: Setup) -> None:
    setup.notifier.tell(setup.zone, ZONE)
    waits = []
    while setup.loop.calls:
        setup.heard()
        waits += setup.loop.run()
    assert waits == WAITS
    assert setup.warnings == [
        f"zone a.example.: 127.0.0.1@{setup.target.getsockname()[1]} does not answer to notifications"
    ]


def test_an_answer_ends_it(setup: Setup) -> None:
    setup.notifier.tell(setup.zone, ZONE)
    message, sender = setup.heard()
    setup.target.sendto(message[:2] + bytes([message[2] | 0x80]) + message[3:], ("127.0.0.1", sender[1]))
    (sock,) = setup.notifier._sockets.values()
    sock.settimeout(20)
    setup.notifier.ready(1)
    assert setup.loop.calls == []
    assert setup.warnings == []


def test_a_try_for_which_memory_is_short_is_made_again(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as short:
        short.setattr(setup.notifier, "_socket", lambda host: (_ for _ in ()).throw(MemoryError))
        setup.notifier.tell(setup.zone, ZONE)
    assert setup.loop.run() == WAITS[:1]
    setup.heard()
    assert [timer.ms for timer in setup.loop.calls] == WAITS[1:2]
