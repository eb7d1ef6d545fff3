# SPDX-License-Identifier: MIT
"""images/mqtt's broker run by CPython: packets at random, most of them right but for a byte, are handled or are no packets,
and what clients leave is counted right. FLOE_MQTT_STREAMS sets how many connections, FLOE_SEED where they begin."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.boot.mqttguest import connect, packet, text
from tests.support.fixtures import REPO
from tests.support.imagecode import imported

STREAMS = int(os.environ.get("FLOE_MQTT_STREAMS", "4000"))
SEED = int(os.environ.get("FLOE_SEED", "11"))
_TOPICS = [
    b"a",
    b"a/b",
    b"a/b",
    b"b/c",
    b"#",
    b"+",
    b"a/+",
    b"$share/g/a",
    b"$share/g/#",
    b"$share//a",
    b"$SYS/#",
    b"",
    b"\xff",
]
_PROPERTIES = [2, 2, 3, 8, 9, 11, 17, 19, 24, 31, 33, 35, 38, 38, 39, 0, 255]
_VALUES = [
    b"\0",
    b"\1",
    b"\0\1",
    b"\xff\xff",
    b"\0\0\0\1",
    b"\xff\xff\xff\xff",
    text(b"x"),
    text(b"x") * 2,
    text(b"\xff"),
]
_SETTINGS = {
    "max_packet": 2000, "session_expiry": 50, "inflight": 3, "keep_alive": 0, "subscriptions": 4, "clients": 4, "queued": 3,
    "queued_bytes": 400, "retained": 4, "kept": 9000,
}  # fmt: skip


class Stream:
    """A client that reads all."""

    def __init__(self) -> None:
        self.out_buf = b""
        self.sent = 0

    def write(self, data: bytes) -> None:
        self.sent += len(data)


@pytest.fixture
def image() -> Iterator[Any]:
    """The modules as the guest has them; its clock is ours to turn."""
    system = ModuleType("floe")
    system.__dict__.update(mem_info=lambda: {"ram": 1 << 25})
    with imported(REPO / "images/mqtt", "broker", {"floe": system}) as broker:
        import link  # type: ignore[import-not-found]  # of the image, on sys.path here
        import session  # type: ignore[import-not-found]  # as well

        found = SimpleNamespace(broker=broker, link=link, p=link.p, time=0.0)
        for module in (broker, link, session):
            module.now = lambda: found.time
        yield found


def _number(number: int) -> bytes:
    return packet(0, bytes(number))[1:-number] if number else b"\0"


class Maker:
    def __init__(self, r: random.Random) -> None:
        self.r = r

    def properties(self) -> bytes:
        r = self.r
        out = b"".join(bytes([r.choice(_PROPERTIES)]) + r.choice(_VALUES) for _ in range(r.choice((0, 0, 0, 1, 2))))
        return _number(len(out)) + out

    def greeting(self, version: int) -> bytes:
        r = self.r
        flags, rest = r.choice((2, 0, 0, 6, 0x26, 0x2C)), b""
        if flags & 4:
            rest = (self.properties() if version == 5 else b"") + text(r.choice(_TOPICS[:5])) + text(b"gone")
        props = r.choice((b"", b"\x11\0\0\0\x14", b"\x21\0\2", b"\x27\0\0\0\x30")) if version == 5 else b""
        return connect(b"c%d" % r.randrange(7), version, flags, r.choice((0, 5)), props, rest)

    def packet(self, version: int) -> bytes:
        r = self.r
        kind, number = r.randrange(12), struct.pack(">H", r.choice((0, 1, 2, 3, 65535)))
        props = self.properties() if version == 5 else b""
        if kind < 5:
            qos = r.choice((0, 0, 1, 2, 2, 3))
            body = text(r.choice(_TOPICS)) + (number if qos else b"") + props + bytes(r.choice((0, 1, 300)))
            return packet(0x30 | qos << 1 | r.choice((0, 0, 1, 8)), body)
        if kind < 8:
            wanted = (
                text(r.choice(_TOPICS)) + r.choice(b"\0\1\2\5\10\20").to_bytes() for _ in range(r.choice((0, 1, 1, 2)))
            )
            return packet(0x82, number + props + b"".join(wanted))
        if kind == 8:
            return packet(0xA2, number + props + b"".join(text(r.choice(_TOPICS)) for _ in range(r.choice((0, 1, 2)))))
        if kind == 9:
            return packet(r.choice((0x40, 0x50, 0x62, 0x70)), number + r.choice((b"", b"\0", b"\x80", b"\0" + props)))
        return packet(0xE0, r.choice((b"", b"\0", b"\4", b"\0" + props))) if kind == 10 else b"\xc0\0"

    def stream(self) -> bytes:
        r = self.r
        version = r.choice((4, 5))
        out = bytearray(self.greeting(version) + b"".join(self.packet(version) for _ in range(r.randrange(9))))
        for _ in range(r.choice((0, 0, 0, 1, 2))):
            out[r.randrange(len(out))] = r.choice((0, 1, 0x80, 0xFF, r.randrange(256)))
        return bytes(out)


def _feed(image: Any, link: Any, data: bytes) -> bool:
    """As Link.run() does it. False: the connection ends."""
    try:
        splitter = link._splitter
        splitter.feed(data)
        while (got := splitter.next()) is not None:
            if not link._handle(got[0], image.p.Reader(got[1])):
                return False
    except image.p.PacketError as exc:
        link.say_goodbye(exc.code, str(exc))
        return False
    return True


def _check(broker: Any) -> None:
    """Its counts are those of what is there."""
    retained = sum(400 + len(m.topic) + len(m.payload) + m.said_bytes() for m in broker.retained.values())
    filters = sum(400 + 2 * len(text) for s in broker.sessions.values() for text in s.filters)
    assert broker.kept_bytes == retained + filters + sum(s.kept_bytes for s in broker.sessions.values())
    assert broker.kept_bytes < _SETTINGS["kept"] + 2000  # a packet's filters at most
    waiting = [m for s in broker.sessions.values() for m, _, _ in s.waiting]
    assert broker.waiting_bytes == sum(len(m.payload) + len(m.topic) for m in waiting) <= 400
    assert broker.tree.count == sum(len(s.filters) for s in broker.sessions.values())
    for session in broker.sessions.values():
        assert sorted(session.order) == sorted(session.on_the_way) and len(session.filters) <= 4


def test_packets_at_random(image: Any) -> None:
    r = random.Random(SEED)
    make = Maker(r)
    said: list[str] = []
    log = SimpleNamespace(debug=lambda *_: None, info=lambda *_: None, warning=lambda form, *_: said.append(form))
    broker = image.broker.Broker(SimpleNamespace(**_SETTINGS), log, SimpleNamespace(may=lambda *_: True))
    links: list[Any] = []
    for number in range(STREAMS):
        link = image.link.Link(broker, Stream(), "here")
        broker.links.add(link)
        data = make.stream()
        cut = r.randrange(len(data) + 1)
        try:
            if _feed(image, link, data[:cut]) and _feed(image, link, data[cut:]):
                links.append(link)
            else:
                broker.closed(link)
            if links and r.randrange(3) == 0:
                broker.closed(links.pop(r.randrange(len(links))))
            image.time += r.choice((0, 0, 1, 20))
            broker.tick()
            links = [link for link in links if link in broker.links]
            _check(broker)
        except Exception as exc:
            raise AssertionError(f"connection {number} of seed {SEED}: {data!r} cut at {cut}") from exc
    assert broker.published > STREAMS // 4 and broker.sent > STREAMS // 50 and broker.dropped > 0
    assert any("no room" in form for form in said)
    for link in links:
        broker.closed(link)
    image.time += 1000
    for topic in list(broker.retained):
        broker.retain(image.broker.Message(topic, b"", 0, {}, None))
    broker.tick()
    broker.tick()  # and what wills leave
    for topic in list(broker.retained):
        broker.retain(image.broker.Message(topic, b"", 0, {}, None))
    assert (broker.kept_bytes, broker.waiting_bytes, broker.tree.count, len(broker.sessions)) == (0, 0, 0, 0)
