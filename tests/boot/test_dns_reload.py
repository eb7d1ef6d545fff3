# SPDX-License-Identifier: MIT
"""images/dns/reload.py without a VM: what becomes of a zone for which the memory was short."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.boot import dnsguest
from tests.boot.handloop import Loop

assert dnsguest.IMAGE  # puts the image's folder into sys.path
ZONE = "$ORIGIN a.example.\n$TTL 60\n@ SOA ns.example. h.example. {serial} 1 1 1 1\n NS ns.example.\n"
NAME = b"\1a\7example\0"


def test_a_zone_for_which_memory_was_short_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "ticks_ms", lambda: 0, raising=False)
    monkeypatch.setattr(time, "ticks_diff", lambda a, b: a - b, raising=False)
    file = tmp_path / "zone"
    file.write_text(ZONE.format(serial=1))
    zones: dict[bytes, Any] = {}
    log = SimpleNamespace(info=lambda *words: None, error=lambda *words: None)
    app = SimpleNamespace(loop=Loop(), log=log)
    authority = SimpleNamespace(zones=zones, put=zones.__setitem__)
    told: list[int] = []
    short = False

    def changed(settings: object, zone: Any) -> None:
        told.append(zone.serial())
        if short:
            raise MemoryError

    reloader = importlib.import_module("reload").Reloader(app, authority, changed)
    assert reloader.load_all([SimpleNamespace(name=NAME, file=str(file))]) == 1
    reloader.watch(10)
    app.loop.run()
    assert told == [1]  # it is as it was

    file.write_text(ZONE.format(serial=23))
    short = True
    for _ in range(20):
        try:
            app.loop.run()
        except MemoryError:
            break
    assert told == [1, 23]
    short = False
    for _ in range(20):
        app.loop.run()
    assert told == [1, 23, 23]
    assert [timer.ms for timer in app.loop.calls] == [10000]  # the next look, and no worker
