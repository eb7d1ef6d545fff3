# SPDX-License-Identifier: MIT
"""docs/router.md: its script, run by this Python over a stand-in of the engine, routes and then stays."""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.docs.tutorial import blocks
from tests.support.fixtures import REPO

PAGE = (REPO / "docs" / "router.md").read_text()


class Asleep(Exception):
    pass


def test_the_script_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script's end is the VM's: a router that does not stay forwards nothing."""
    done: list[Any] = []

    def sleep(seconds: float) -> None:
        raise Asleep

    packet = ModuleType("packet")
    add = SimpleNamespace(add=lambda prefix, **how: done.append((prefix, how)))
    vars(packet).update(forward=lambda: done.append("forward"), route=add)
    monkeypatch.setitem(sys.modules, "packet", packet)
    monkeypatch.setattr(time, "sleep", sleep)
    script, *others = [block for block in blocks(PAGE) if block.kind == "python"]
    assert not others
    with pytest.raises(Asleep):
        exec("\n".join(script.lines), {})
    assert [each[0] for each in done[1:]] == ["10.3.0.0/16", "2001:db8:3::/48"]
