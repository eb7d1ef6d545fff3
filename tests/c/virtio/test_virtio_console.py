# SPDX-License-Identifier: MIT
"""modules/virtio/virtio_console.c: both directions, back-pressure, a host that does not read, and lies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.c.support.harness import CONSOLE, EIO, ENOMEM, EVENT_IDX, VERSION_1, Device, Harness

RX, TX = 0, 1
BUFFER, TX_COUNT, RX_COUNT = 4096, 8, 4


class Console:
    """The console device, its driver up."""

    def __init__(self, h: Harness, dev: Device, features: int = EVENT_IDX) -> None:
        self.h = h
        self.dev = dev
        dev.set(features=VERSION_1 | features)

    def up(self) -> Console:
        assert self.h.number("probe", "virtio-console") == 1, self.h.log
        assert self.h.events == ["ATTACH sink"]
        self.h.events.clear()
        return self

    def send(self, data: bytes) -> int:
        return self.h.number("send", data.hex())

    def host_reads(self) -> bytes:
        data = b""
        for chain in self.dev.drain(TX):
            data += self.dev.read(TX, chain)
            self.dev.used(TX, chain.head, 0)
        return data

    def host_writes(self, data: bytes) -> None:
        chain = self.dev.take(RX)
        self.dev.fill(RX, chain, data)
        self.dev.used(RX, chain.head, len(data))

    def input(self) -> bytes:
        data = b"".join(bytes.fromhex(e.split(" ")[1]) for e in self.h.events if e.startswith("INPUT"))
        self.h.events.clear()
        return data

    def dead(self, reason: str) -> None:
        assert any(reason in line for line in self.h.log), self.h.log
        assert self.h.events[-1] == "ATTACH uart"
        assert self.dev.get("status") == 0
        assert self.h.number("run") == 0 and self.h.number("evarm") == 0


@pytest.fixture
def console(h: Harness, device: Callable[[int], Device]) -> Console:
    return Console(h, device(CONSOLE))


def test_no_device(h: Harness) -> None:
    assert h.number("probe", "virtio-console") == 0


def test_features(console: Console) -> None:
    console.dev.set(features=VERSION_1 | 0xFFFFFFFF)
    console.up()
    assert console.dev.get("driver_features") == VERSION_1 | EVENT_IDX  # no SIZE; no MULTIPORT for no ports


def test_output(console: Console) -> None:
    console.up()
    assert console.h.number("idle") == 1
    assert console.send(b"hello\n") == 6
    assert console.h.number("idle") == 0
    assert console.dev.get("queue1.notified") == 1
    assert console.host_reads() == b"hello\n"
    assert console.h.number("idle") == 1


def test_long_output_is_cut_into_buffers_with_one_notification(console: Console) -> None:
    console.up()
    data = bytes(i * 31 & 255 for i in range(10000))
    assert console.send(data) == 10000
    assert console.dev.get("queue1.notified") == 1
    assert console.host_reads() == data


def test_a_host_that_does_not_read(console: Console) -> None:
    console.up()
    data = bytes(BUFFER * TX_COUNT + 100)
    assert console.send(data) == BUFFER * TX_COUNT
    for _ in range(100):
        assert console.send(b"x") == 0 and console.h.number("run") == 0
    assert console.h.number("idle") == 0
    assert console.h.number("evarm") == 0
    chain = console.dev.take(TX)
    console.dev.used(TX, chain.head, 0)
    assert console.h.number("wantirq", console.dev.index, TX, 1, 1) == 1  # waited for
    assert console.h.number("run") == 1
    assert console.send(b"more") == 4


def test_output_is_not_waited_for_while_there_is_room(console: Console) -> None:
    console.up()
    console.send(b"a")
    assert console.h.number("evarm") == 0
    console.host_reads()
    assert console.h.number("wantirq", console.dev.index, TX, 1, 1) == 0


def test_input(console: Console) -> None:
    console.up()
    assert [c.writable for c in console.dev.drain(RX)] == [[BUFFER]] * RX_COUNT


def test_input_arrives_in_order(console: Console) -> None:
    console.up()
    for text in (b"one", b"two", b"three"):
        console.host_writes(text)
    assert console.h.number("run") == 1
    assert console.input() == b"onetwothree"
    for i in range(50):
        console.host_writes(bytes([i]))
        assert console.h.number("run") == 1
    assert console.input() == bytes(range(50))
    assert console.h.number("run") == 0


def test_input_wakes(console: Console) -> None:
    console.up()
    console.host_writes(b"a")
    assert console.h.number("evarm") == 1
    console.h.do("run")
    assert console.h.number("evarm") == 0
    console.host_writes(b"b")
    assert console.h.number("wantirq", console.dev.index, RX, 1, 1) == 1


def test_empty_input_gives_the_buffer_back(console: Console) -> None:
    console.up()
    for _ in range(20):
        console.host_writes(b"")
        console.h.do("run")
    console.host_writes(b"x")
    console.h.do("run")
    assert console.input() == b"x"


def test_back_pressure(console: Console) -> None:
    """What does not fit stays in our buffer; the host is held, nothing is lost, and nobody spins."""
    console.up()
    console.h.do("hal", "input_room", 10)
    data = [bytes([65 + i]) * 7 for i in range(RX_COUNT)]
    for part in data:
        console.host_writes(part)
    assert console.dev.next(RX) is None
    console.h.do("run")
    assert console.input() == data[0] + data[1][:3]
    assert console.h.number("run") == 0 and console.h.number("evarm") == 0
    console.h.do("hal", "input_room", 1000)
    assert console.h.number("run") == 1
    assert console.input() == data[1][3:] + data[2] + data[3]
    assert len(console.dev.drain(RX)) == RX_COUNT


@pytest.mark.parametrize("most", [1, 2])
def test_small_queues(console: Console, most: int) -> None:
    console.dev.set(queue0__max=most, queue1__max=most)
    console.up()
    assert console.send(bytes(BUFFER * 3)) == BUFFER * most
    for i in range(5):
        console.host_writes(bytes([i]))
        console.h.do("run")
    assert console.input() == bytes(range(5))


LIES = {
    "output id beyond": (TX, 8, 0, "used id beyond the queue"),
    "output id not outstanding": (TX, 3, 0, "used id not outstanding"),
    "input id beyond": (RX, 4, 0, "used id beyond the queue"),
    "input length": (RX, 0, BUFFER + 1, "used length beyond the buffer"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(console: Console, lie: str) -> None:
    queue, head, length, reason = LIES[lie]
    console.up()
    assert console.send(b"hello") == 5
    console.dev.used(queue, head, length)
    console.h.do("run")
    console.dead(reason)


@pytest.mark.parametrize("verb", ["send", "idle"])
def test_a_lie_found_while_sending(console: Console, verb: str) -> None:
    console.up()
    console.send(b"hello")
    console.dev.used(TX, 8, 0)
    assert console.h.number(verb, *(["00"] if verb == "send" else [])) == (0 if verb == "send" else 1)
    console.dead("used id beyond the queue")


def test_device_needs_reset(console: Console) -> None:
    console.up()
    console.dev.set(status=0x4F, irq_status=2)
    console.h.do("hal", "irq", 0)
    console.h.do("evarm")
    console.dead("device needs a reset")


@pytest.mark.parametrize("left", range(5))
def test_every_allocation_fails_once(console: Console, left: int) -> None:
    console.h.do("hal", "dma_left", left)
    assert console.h.number("probe", "virtio-console") == ENOMEM
    assert console.h.events == [] and console.dev.get("status") == 0


def test_a_second_probe_of_a_dead_device(console: Console) -> None:
    console.h.do("hal", "dma_left", 0)
    assert console.h.number("probe", "virtio-console") == ENOMEM
    assert console.h.number("probe", "virtio-console") == EIO
