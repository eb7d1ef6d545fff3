# SPDX-License-Identifier: MIT
"""modules/virtio/virtio_family.c: port 1 of the second console device, whole frames or none, and devices that lie."""

from __future__ import annotations

import struct

import pytest

from tests.c.support.harness import CONSOLE, ENODEV, ENOMEM, ENOTSUP, EVENT_IDX, VERSION_1, Device, Harness

MULTIPORT = 1 << 1
CTRL_RX, CTRL_TX, RX, TX = 2, 3, 4, 5
READY, ADD, REMOVE, PORT_READY, OPEN = 0, 1, 2, 3, 6
RX_COUNT, TX_COUNT, BYTES = 8, 8, 4096
ANSWER_NS = 900_000_000
FOREVER = (1 << 64) - 1


class Line:
    """The second of two console devices, and its driver."""

    def __init__(self, h: Harness, bus: str) -> None:
        self.h = h
        self.first = Device(h, bus, CONSOLE)
        if bus == "mmio":
            index = h.number("mmio", 0xFEB01000, CONSOLE)
            h.do("hal", "cmdline", "virtio_mmio.device=512@0xfeb00000:5", "virtio_mmio.device=512@0xfeb01000:6")
            self.dev = Device.__new__(Device)
            self.dev.h, self.dev.bus, self.dev.index = h, bus, index
        else:
            self.dev = Device(h, bus, CONSOLE)
        self.dev.set(features=VERSION_1 | EVENT_IDX | MULTIPORT)
        for queue in range(2, 6):
            self.dev.set(**{f"queue{queue}__max": 64})

    def tell(self, event: int, value: int = 1, port: int = 1) -> None:
        chain = self.dev.take(CTRL_RX)
        data = struct.pack("<IHH", port, event, value)
        self.dev.fill(CTRL_RX, chain, data)
        self.dev.used(CTRL_RX, chain.head, len(data))

    def said(self) -> list[tuple[int, ...]]:
        messages = []
        for chain in self.dev.drain(CTRL_TX):
            messages.append(struct.unpack("<IHH", self.dev.read(CTRL_TX, chain)))
            self.dev.used(CTRL_TX, chain.head, 0)
        return messages

    def run(self) -> int:
        return self.h.number("line", "run")

    def opened(self) -> Line:
        assert self.h.number("probe", "virtio-family") == 1, self.h.log
        assert self.said() == [(0, READY, 1)]
        assert self.h.number("line", "send", "aa") == 0  # not yet
        assert self.run() == 0
        self.tell(ADD)
        assert self.run() == 1
        assert self.said() == [(1, PORT_READY, 1), (1, OPEN, 1)]
        self.run()
        assert self.h.number("line", "left") == FOREVER
        return self

    def send(self, head: bytes, data: bytes) -> bool:
        return self.h.number("line", "send", head.hex(), data.hex()) == 1

    def sent(self) -> list[bytes]:
        got = []
        for chain in self.dev.drain(TX):
            got.append(self.dev.read(TX, chain))
            self.dev.used(TX, chain.head, 0)
        return got

    def comes(self, data: bytes) -> None:
        chain = self.dev.take(RX)
        self.dev.fill(RX, chain, data)
        self.dev.used(RX, chain.head, len(data))

    def receive(self, size: int) -> bytes:
        return bytes.fromhex(self.h.do("line", "receive", size))

    def dead(self, reason: str) -> None:
        assert any(reason in line for line in self.h.log), self.h.log
        assert self.h.number("line", "dead") == 1
        assert self.dev.get("status") == 0
        assert self.run() == 0 and not self.send(b"x", b"") and self.receive(5) == b""


@pytest.fixture
def line(h: Harness, bus: str) -> Line:
    return Line(h, bus)


def test_a_console_alone_is_no_line(h: Harness, bus: str) -> None:
    Device(h, bus, CONSOLE)
    assert h.number("probe", "virtio-family") == 0
    assert h.do("line", "run") == "none"


def test_a_frame_is_sent_whole_or_not_at_all(line: Line) -> None:
    line.opened()
    data = bytes(range(256)) * 64
    assert line.send(b"head", b"")
    assert line.sent() == [b"head"]
    assert line.send(b"head", data[: BYTES - 4])
    assert line.sent() == [b"head" + data[: BYTES - 4]]
    assert line.send(b"head", data)
    assert not line.send(b"head", data)  # 5 of 8 buffers are out
    assert [line.h.number("line", "room", size) for size in (3 * BYTES, 3 * BYTES + 1)] == [1, 0]
    assert line.h.number("line", "busy") == 1
    assert line.h.number("wantirq", line.dev.index, TX, 0, 1) == 1
    sent = line.sent()
    assert [len(piece) for piece in sent] == [BYTES] * 4 + [4]
    assert b"".join(sent) == b"head" + data
    assert line.run() == 1
    assert line.h.number("line", "busy") == 0
    assert line.send(b"head", data)
    assert b"".join(line.sent()) == b"head" + data


def test_bytes_are_received_in_any_pieces(line: Line) -> None:
    line.opened()
    assert line.receive(10) == b""
    line.comes(b"abcdef")
    line.comes(b"ghi")
    assert line.receive(4) == b"abcd"
    assert line.h.number("line", "arm") == 1  # there is more
    assert [line.receive(4) for _ in range(3)] == [b"ef", b"ghi", b""]
    for _ in range(3 * RX_COUNT):
        line.comes(b"x" * BYTES)
        assert line.receive(BYTES) == b"x" * BYTES
    assert len(line.dev.drain(RX)) == RX_COUNT


def test_a_port_that_does_not_come(line: Line) -> None:
    line.h.do("probe", "virtio-family")
    line.h.do("hal", "advance", ANSWER_NS)
    assert line.run() == 1
    line.dead("the family's port is not there")


@pytest.mark.parametrize(("event", "value"), [(OPEN, 0), (REMOVE, 1)])
def test_the_host_closes_the_port(line: Line, event: int, value: int) -> None:
    line.opened()
    line.tell(OPEN, 1)
    line.tell(event, value, port=2)
    assert line.run() == 0
    line.tell(event, value)
    assert line.h.number("line", "arm") == 1
    assert line.run() == 1
    line.dead("the host has closed the family's port")


LIES = {
    "received id beyond": (RX, RX_COUNT, 8, "used id beyond the queue"),
    "received length": (RX, 0, BYTES + 1, "used length beyond the buffer"),
    "sent nothing": (TX, 3, 0, "used index jumped"),
    "message length": (CTRL_RX, 1, 513, "used length beyond the buffer"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(line: Line, lie: str) -> None:
    queue, head, length, reason = LIES[lie]
    line.opened()
    line.dev.used(queue, head, length)
    line.run()
    line.receive(1)
    line.dead(reason)


@pytest.mark.parametrize("queue", [CTRL_RX, CTRL_TX])
def test_lies_before_the_port_is_open(line: Line, queue: int) -> None:
    """Whichever of the two queues it is that lied, its reason is given."""
    assert line.h.number("probe", "virtio-family") == 1
    if queue == CTRL_TX:
        line.tell(ADD)  # there has to be something to say
    line.dev.used(queue, 64, 0)
    assert line.run() == 1
    line.dead("used id beyond the queue")


def test_one_port_only(line: Line) -> None:
    line.dev.set(features=VERSION_1 | EVENT_IDX)
    assert line.h.number("probe", "virtio-family") == ENOTSUP
    assert line.h.do("line", "run") == "none"


@pytest.mark.parametrize("queue", range(2, 6))
def test_a_queue_is_missing(line: Line, queue: int) -> None:
    line.dev.set(**{f"queue{queue}__max": 0})
    assert line.h.number("probe", "virtio-family") == ENODEV
    assert line.h.do("line", "run") == "none"


@pytest.mark.parametrize("left", range(10))
def test_every_allocation_fails_once(line: Line, left: int) -> None:
    line.h.do("hal", "dma_left", left)
    assert line.h.number("probe", "virtio-family") == ENOMEM
    assert line.h.do("line", "run") == "none" and line.dev.get("status") == 0
