# SPDX-License-Identifier: MIT
"""modules/virtio/virtio_console_ctrl.c: finding and opening a port, devices without it, that lie, or say nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.c.support.harness import CONSOLE, ENODEV, ENOMEM, EVENT_IDX, VERSION_1, Device, Harness

MULTIPORT = 1 << 1
CTRL_RX, CTRL_TX = 2, 3
READY, ADD, REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, OPEN, NAME = range(8)
RX_COUNT, RX_BYTES, TX_BYTES = 8, 512, 8 * 4096
ANSWER_NS, SETTLE_NS = 900_000_000, 5_000_000
FOREVER = (1 << 64) - 1


class Ports:
    """A console device with MULTIPORT, and its driver."""

    def __init__(self, h: Harness, dev: Device) -> None:
        self.h = h
        self.dev = dev
        self.offer(2)
        for queue in range(2, 16):
            dev.set(**{f"queue{queue}__max": 64})

    def offer(self, ports: int, features: int = EVENT_IDX | MULTIPORT) -> None:
        self.dev.set(features=VERSION_1 | features)
        self.dev.config(4, struct.pack("<I", ports))

    def up(self) -> Ports:
        assert self.h.number("probe", "virtio-console") == 1, self.h.log
        assert self.h.events == ["ATTACH sink"]
        self.h.events.clear()
        return self

    def tell(self, id_: int, event: int, value: int = 1, more: bytes = b"", length: int | None = None) -> None:
        """A control message from the device."""
        data = struct.pack("<IHH", id_, event, value) + more
        chain = self.dev.take(CTRL_RX)
        self.dev.fill(CTRL_RX, chain, data)
        self.dev.used(CTRL_RX, chain.head, len(data) if length is None else length)

    def said(self) -> list[tuple[int, ...]]:
        """Control messages of the driver since the last call."""
        messages = []
        for chain in self.dev.drain(CTRL_TX):
            messages.append(struct.unpack("<IHH", self.dev.read(CTRL_TX, chain)))
            self.dev.used(CTRL_TX, chain.head, 0)
        return messages

    def opened(self, port: int = 1) -> Ports:
        """As an honest device with one port does it."""
        self.up()
        assert self.said() == [(0, READY, 1)]
        self.tell(port, ADD)
        self.run()
        assert self.said() == [(port, PORT_READY, 1), (port, OPEN, 1)]
        return self

    def run(self) -> int:
        return self.h.number("run")

    def later(self, ns: int) -> None:
        self.h.do("hal", "advance", ns)
        self.run()

    def works_on(self, rx: int) -> None:
        """Both directions, by queues rx and rx + 1, and there is no deadline any more."""
        assert self.h.number("send", b"out".hex()) == 3
        chain = self.dev.take(rx + 1)
        assert self.dev.read(rx + 1, chain) == b"out"
        self.dev.used(rx + 1, chain.head, 0)
        chain = self.dev.take(rx)
        self.dev.fill(rx, chain, b"in")
        self.dev.used(rx, chain.head, 2)
        self.h.events.clear()
        assert self.run() == 1
        assert self.h.events == [f"INPUT {b'in'.hex()}"]
        assert self.h.number("evleft") == FOREVER
        assert self.h.number("idle") == 1

    def is_plain(self) -> bool:
        return self.dev.get("driver_features") & MULTIPORT == 0

    def dead(self, reason: str) -> None:
        assert any(reason in line for line in self.h.log), self.h.log
        assert self.h.events[-1] == "ATTACH uart"
        assert self.dev.get("status") == 0
        assert self.run() == 0 and self.h.number("evarm") == 0 and self.h.number("evleft") == FOREVER


@pytest.fixture
def ports(h: Harness, device: Callable[[int], Device]) -> Ports:
    return Ports(h, device(CONSOLE))


def test_port_1_is_opened(ports: Ports) -> None:
    ports.opened()
    assert not ports.is_plain()
    assert ports.dev.get("queue0.ready") == ports.dev.get("queue1.ready") == 0  # not ours: each costs exits
    ports.works_on(4)


def test_output_waits_for_the_port_and_nobody_else_does(ports: Ports) -> None:
    ports.up()
    assert ports.h.number("send", b"early".hex()) == 0
    assert ports.run() == 0
    assert ports.h.number("evarm") == 0
    assert 0 < ports.h.number("evleft") <= ANSWER_NS
    ports.tell(1, ADD)
    assert ports.h.number("wantirq", ports.dev.index, CTRL_RX, 1, 1) == 1  # it wakes us
    assert ports.h.number("evarm") == 1
    assert ports.run() == 1
    ports.works_on(4)


def test_port_1_is_preferred(ports: Ports) -> None:
    ports.offer(4)
    ports.up()
    for port in (0, 3, 2):
        ports.tell(port, ADD)
    ports.run()
    assert ports.said() == [(0, READY, 1)]
    ports.tell(1, ADD)
    ports.run()
    assert ports.said() == [(1, PORT_READY, 1), (1, OPEN, 1)]
    ports.works_on(4)


def test_only_port_0(ports: Ports) -> None:
    """As QEMU with a virtconsole on a bus of several ports: the plain way, a moment later."""
    ports.up()
    ports.tell(0, ADD)
    assert ports.run() == 0
    assert 0 < ports.h.number("evleft") <= SETTLE_NS
    assert not ports.is_plain()
    ports.later(SETTLE_NS)
    assert ports.is_plain()
    ports.works_on(0)
    assert ports.h.log == []


def test_another_port(ports: Ports) -> None:
    ports.offer(8)
    ports.up()
    for port in (0, 6, 3, 5):
        ports.tell(port, ADD)
    ports.run()
    ports.later(SETTLE_NS)
    assert ports.said() == [(0, READY, 1)]
    ports.tell(3, ADD)
    ports.run()
    assert ports.said() == [(3, PORT_READY, 1), (3, OPEN, 1)]
    ports.works_on(8)


def test_another_port_that_is_not_there_after_all(ports: Ports) -> None:
    """A device that names a different port each time is asked twice, not for ever."""
    ports.offer(8)
    ports.up()
    ports.tell(3, ADD)
    ports.run()
    ports.later(SETTLE_NS)
    ports.tell(1, ADD)
    ports.run()
    ports.later(SETTLE_NS)
    assert ports.is_plain()
    ports.works_on(0)


def test_another_port_beyond_the_count(ports: Ports) -> None:
    ports.up()
    ports.tell(5, ADD)
    ports.run()
    ports.later(SETTLE_NS)
    assert ports.is_plain()
    ports.works_on(0)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_ports_for_multiport(ports: Ports, count: int) -> None:
    ports.offer(count)
    ports.up()
    assert ports.is_plain()
    ports.works_on(0)


def test_very_many_ports(ports: Ports) -> None:
    ports.offer(0xFFFFFFFF)
    ports.opened().works_on(4)


def test_no_answer(ports: Ports) -> None:
    ports.up()
    ports.later(ANSWER_NS - 1_000_000)
    assert not ports.is_plain()
    ports.later(1_000_000)
    assert ports.is_plain()
    ports.works_on(0)


NOISE = {
    "port beyond ours": (7, ADD, 8),
    "huge port": (0xFFFFFFFF, ADD, 8),
    "wrapping port": (0x80000001, ADD, 8),
    "empty": (1, ADD, 0),
    "one byte short": (1, ADD, 7),
    "event beyond": (1, 8, 8),
    "largest event": (1, 0xFFFF, 8),
    "our own events": (1, PORT_READY, 8),
    "device ready": (0, READY, 8),
    "console": (1, CONSOLE_PORT, 8),
    "resize": (1, RESIZE, 8),
    "open": (1, OPEN, 8),
    "name": (1, NAME, 8),
    "removed before it came": (1, REMOVE, 8),
}


@pytest.mark.parametrize("noise", NOISE)
def test_what_means_nothing_changes_nothing(ports: Ports, noise: str) -> None:
    """Neither before the port is there nor after; no buffer is lost, and the deadline stays."""
    id_, event, length = NOISE[noise]
    ports.up()
    for _ in range(50):
        ports.tell(id_, event, length=length)
        ports.run()
    assert ports.said() == [(0, READY, 1)]
    assert ports.h.number("evleft") > ANSWER_NS // 2
    ports.tell(1, ADD)
    ports.run()
    assert ports.said() == [(1, PORT_READY, 1), (1, OPEN, 1)]
    if event != REMOVE:
        ports.tell(id_, event, length=length)
    ports.run()
    ports.works_on(4)
    assert len(ports.dev.drain(CTRL_RX)) == RX_COUNT


def test_a_long_name(ports: Ports) -> None:
    ports.opened()
    ports.tell(1, NAME, more=b"n" * (RX_BYTES - 8))
    ports.run()
    ports.works_on(4)


@pytest.mark.parametrize("before", [False, True])
def test_a_storm_of_ports(ports: Ports, before: bool) -> None:
    """Each turn takes what fits in the queue once, answers nothing twice, and goes on."""
    ports.up() if before else ports.opened()
    for _ in range(200):
        for i in range(RX_COUNT):
            ports.tell(1000 + i if before else 1, ADD)
        assert ports.dev.next(CTRL_RX) is None
        ports.run()
    if before:
        ports.later(ANSWER_NS)
        ports.works_on(0)
    else:
        assert ports.said() == []
        ports.works_on(4)


def test_a_storm_does_not_postpone_the_end(ports: Ports) -> None:
    ports.offer(8)
    ports.up()
    for i in range(5):
        ports.tell(2 + i % 2, ADD)
        ports.later(SETTLE_NS // 4)
    assert ports.said() == [(0, READY, 1)]
    ports.tell(2, ADD)
    ports.run()
    ports.works_on(6)


def test_the_host_closes_and_opens(ports: Ports) -> None:
    """What is sent meanwhile is the device's to discard; if it does not, send takes 0 and nobody waits."""
    ports.opened()
    for value in (1, 0, 1, 0):
        ports.tell(1, OPEN, value)
        ports.run()
        ports.works_on(4)
    assert ports.h.number("send", bytes(TX_BYTES + 1).hex()) == TX_BYTES
    assert ports.h.number("send", b"x".hex()) == 0
    assert ports.run() == 0
    for chain in ports.dev.drain(5):
        ports.dev.used(5, chain.head, 0)
    ports.tell(1, OPEN, 1)
    ports.run()
    ports.works_on(4)


def test_our_port_is_removed(ports: Ports) -> None:
    ports.opened()
    ports.tell(0, REMOVE)
    ports.tell(2, REMOVE)
    ports.run()
    ports.works_on(4)
    ports.tell(1, REMOVE)
    ports.run()
    ports.dead("the console's port was removed")


LIES = {
    "received id beyond": (CTRL_RX, RX_COUNT, 8, "used id beyond the queue"),
    "received length": (CTRL_RX, 0, RX_BYTES + 1, "used length beyond the buffer"),
    "sent id beyond": (CTRL_TX, 4, 0, "used id beyond the queue"),
    "sent id not outstanding": (CTRL_TX, 3, 0, "used id not outstanding"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(ports: Ports, lie: str) -> None:
    queue, head, length, reason = LIES[lie]
    ports.up()
    ports.dev.used(queue, head, length)
    ports.run()
    ports.dead(reason)


@pytest.mark.parametrize("lie", [k for k in LIES if k.startswith("received")])
def test_lies_later(ports: Ports, lie: str) -> None:
    queue, head, length, reason = LIES[lie]
    ports.opened()
    ports.dev.used(queue, head, length)
    ports.run()
    ports.dead(reason)


def test_queues_of_one(ports: Ports) -> None:
    """There is room for one message at a time, each way."""
    ports.dev.set(queue2__max=1, queue3__max=1)
    ports.up()
    ports.tell(0, ADD)
    ports.run()
    ports.tell(1, ADD)
    ports.run()
    assert ports.h.number("evarm") == 0
    for expected in [(0, READY, 1), (1, PORT_READY, 1), (1, OPEN, 1)]:
        assert ports.said() == [expected]
        ports.run()
    ports.works_on(4)


@pytest.mark.parametrize("queue", range(2, 6))
def test_a_queue_is_missing(ports: Ports, queue: int) -> None:
    ports.dev.set(**{f"queue{queue}__max": 0})
    assert ports.h.number("probe", "virtio-console") == ENODEV
    assert ports.h.events == [] and ports.dev.get("status") == 0


def test_a_queue_is_missing_at_the_second_try(ports: Ports) -> None:
    ports.dev.set(queue0__max=0)
    ports.up()
    ports.later(ANSWER_NS)
    ports.dead("queue missing")


@pytest.mark.parametrize("left", range(10))
def test_every_allocation_fails_once(ports: Ports, left: int) -> None:
    ports.h.do("hal", "dma_left", left)
    assert ports.h.number("probe", "virtio-console") == ENOMEM
    assert ports.h.events == [] and ports.dev.get("status") == 0
