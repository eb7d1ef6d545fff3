# SPDX-License-Identifier: MIT
"""tools/floe/qemu/qmp.py: a QEMU that ends at any moment leaves no exception, and no word of the library's."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from qemu.qmp.message import Message

from floe.errors import VmError
from floe.hypervisor.qemu_driver import Qemu
from floe.qemu import qmp
from floe.qemu.copying import Copying

GREETING = (
    b'{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}\r\n'
)
REPLIES = b'{"return": {}, "id": "first"}\r\n{"return": {}, "id": "second"}\r\n'
EVENT = b'{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 1}}\r\n'


@pytest.mark.parametrize(
    ("said", "events"),
    [
        (b"", []),
        (GREETING[:20], []),
        (GREETING, []),
        (GREETING + b"no JSON\n", []),
        (GREETING + REPLIES[:10], []),
        (GREETING + REPLIES + EVENT, ["STOP"]),
        (GREETING + REPLIES + EVENT + EVENT[:9], ["STOP"]),
    ],
)
def test_qemu_ends(capfd: pytest.CaptureFixture[str], said: bytes, events: list[str]) -> None:
    ours, theirs = socket.socketpair()
    seen: list[str] = []

    def on_event(name: str, data: Mapping[str, Any]) -> None:
        seen.append(name)

    qmp.negotiate(ours)
    with theirs:
        theirs.sendall(said)
    asyncio.run(asyncio.wait_for(qmp.watch(ours, on_event), 10))
    gc.collect()  # an exception that nobody fetched is told of when its task goes
    assert seen == events
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kvm", "told"),
    [
        (True, "this host's kernel does not tell QEMU how often its VMs exit"),
        (False, "only KVM counts exits, and this VM is emulated"),
    ],
)
def test_where_nobody_counts_exits_it_is_said_why(kvm: bool, told: str) -> None:
    """A kernel before 5.14 has no statistics that QEMU could read."""
    said: dict[str, object] = {"query-stats": [], "query-kvm": {"enabled": kvm, "present": True}}

    async def ask(name: str, arguments: object = None) -> object:
        return said[name]

    driver = Qemu()
    driver._copier = cast(Copying, SimpleNamespace(commands=SimpleNamespace(ask=ask)))
    with pytest.raises(VmError) as raised:
        asyncio.run(driver.exits())
    assert raised.value.message == told


def test_events_that_were_delivered_are_not_kept() -> None:
    """A VM that forks tells of seven each time, for as long as it lives."""
    many = 1000
    ours, theirs = socket.socketpair()
    seen: list[str] = []
    kept: list[object] = []

    def on_event(name: str, data: Mapping[str, Any]) -> None:
        seen.append(name)

    async def scene() -> None:
        watching = asyncio.create_task(qmp.watch(ours, on_event))
        with theirs:
            await asyncio.to_thread(theirs.sendall, GREETING + REPLIES + EVENT * many)
            while len(seen) < many:
                await asyncio.sleep(0.01)
            kept.extend(thing for thing in gc.get_objects() if type(thing) is Message)
        await watching

    qmp.negotiate(ours)
    asyncio.run(asyncio.wait_for(scene(), 30))
    assert len(kept) < 10
