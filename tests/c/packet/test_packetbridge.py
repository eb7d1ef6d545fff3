# SPDX-License-Identifier: MIT
"""A bridge of three cards in memory: who learns what, who gets what, and what rules say of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from tests.c.packet.packetwords import TCP4, TSO4, TX_CSUM, Engine, intact, mac, summed
from tests.c.support.harness import Harness
from tests.packet import language

say = language.rules
OWN = mac(3)
ALL = "ff:ff:ff:ff:ff:ff"
FUZZED = 60_000


def host(number: int) -> str:
    return f"02:00:00:00:aa:{number:02x}"


@pytest.fixture
def engine(engine_program: Path) -> Iterator[Engine]:
    with Harness(engine_program) as harness:
        e = Engine(harness)
        harness.do("bridge", 0b111, 0)
        yield e
        assert e.left() == 0


def udp(source: int, destination: str, size: int = 20) -> Packet:
    ip = IP(src=f"10.9.0.{source}", dst="10.9.0.99")
    return Ether(src=host(source), dst=destination) / ip / UDP(sport=1, dport=2) / Raw(b"x" * size)


def cards(engine: Engine, card: int, frame: Packet) -> list[int]:
    result = engine.receive(card, frame)
    assert all(s.data == bytes(frame) for s in result.sent)
    assert result.own in (None, bytes(frame))
    engine.left()
    return [s.card for s in result.sent] + ([3] if result.own else [])


def test_where_a_frame_goes(engine: Engine) -> None:
    assert cards(engine, 0, udp(1, host(2))) == [1, 2]  # nobody knows
    assert cards(engine, 1, udp(2, host(1))) == [0]
    assert cards(engine, 0, udp(1, host(2))) == [1]
    assert cards(engine, 1, udp(3, host(2))) == []  # it has heard that itself
    assert cards(engine, 2, Ether(src=host(4), dst=ALL) / ARP(pdst="10.9.0.1")) == [0, 1, 3]
    assert cards(engine, 0, udp(1, "01:00:5e:00:00:05")) == [1, 2, 3]
    assert cards(engine, 0, udp(1, OWN)) == [3]
    assert cards(engine, 0, udp(1, host(4))) == [2]
    assert cards(engine, 2, udp(1, host(4))) == []  # it has moved
    assert cards(engine, 1, udp(2, host(1))) == [2]
    assert cards(engine, 0, Ether(src=host(9), dst=host(4), type=0x88CC) / Raw(b"y" * 50)) == [2]


def test_what_no_bridge_passes_on(engine: Engine) -> None:
    assert cards(engine, 0, udp(1, "01:80:c2:00:00:00")) == []  # spanning tree
    assert cards(engine, 0, udp(1, "01:80:c2:00:00:0e")) == []
    assert cards(engine, 0, Ether(src="03:00:00:00:00:01", dst=ALL) / Raw(b"z" * 50)) == []
    assert cards(engine, 0, Ether(src=OWN, dst=ALL) / Raw(b"z" * 50)) == []  # a loop, or a lie
    assert engine.count("bad") == 2 and engine.count("not_ours") == 2


def test_who_is_silent_is_forgotten(engine: Engine) -> None:
    cards(engine, 1, udp(2, OWN))
    engine.run(299)
    assert cards(engine, 0, udp(1, host(2))) == [1]
    engine.run(2)
    assert cards(engine, 0, udp(1, host(2))) == [1, 2]


def test_more_stations_than_there_is_room_for(engine: Engine) -> None:
    for number in range(5000):
        source = f"02:00:01:00:{number >> 8:02x}:{number & 255:02x}"
        engine.receive(1, Ether(src=source, dst=OWN) / Raw(b"." * 50))
    assert cards(engine, 0, udp(1, source)) == [1]  # the latest one
    assert cards(engine, 2, udp(4, host(1))) == [0]


def test_a_card_that_is_down_or_full(engine: Engine) -> None:
    engine.card(1, up=False)
    assert cards(engine, 0, udp(1, host(2))) == [2]
    engine.card(1, room=0)
    assert cards(engine, 0, udp(1, host(2))) == [2]
    assert engine.count("card_full") == 1


def test_nothing_is_cut_in_fragments(engine: Engine) -> None:
    engine.card(1, mtu=600)
    assert cards(engine, 0, udp(1, host(2), 1000)) == [2]
    assert engine.count("too_big") == 1
    tagged = Ether(src=host(1), dst=ALL) / Dot1Q(vlan=9) / IP(dst="10.9.0.2") / UDP() / Raw(b"t" * 1472)
    assert cards(engine, 0, tagged) == [2, 3]  # a tag is not the packet's


def test_what_is_left_to_a_card(engine: Engine) -> None:
    """Each card gets what it can do; of a frame to several nobody is asked for the checksum twice."""
    frame = Ether(src=host(1), dst=host(2)) / IP(src="10.9.0.1", dst="10.9.0.2") / UDP(sport=1, dport=2) / Raw(b"abc")
    data = bytearray(bytes(frame))
    data[40:42] = (0xFFFF ^ 0xFFFF ^ summed(bytes(data[26:34]) + b"\0\x11" + bytes(data[38:40]))).to_bytes(2, "big")
    for features in (0, TX_CSUM):
        engine.card(1, features=features)
        engine.card(2, features=TX_CSUM)
        result = engine.receive(0, bytes(data), csum=(34, 6))
        assert [s.card for s in result.sent] == [1, 2]
        assert all(intact(s.ether) and s.csum_start == 0 for s in result.sent)
        engine.left()
    engine.receive(1, udp(2, OWN))
    (sent,) = engine.receive(0, bytes(data), csum=(34, 6)).sent
    assert sent.csum_start == 34 and sent.data == bytes(data)


def test_large_tcp(engine: Engine) -> None:
    engine.receive(1, udp(2, OWN))
    tcp = TCP(sport=1, dport=2, flags="A", chksum=0)
    frame = Ether(src=host(1), dst=host(2)) / IP(src="10.9.0.1", dst="10.9.0.2") / tcp / Raw(b"m" * 4000)
    for features, count in ((TX_CSUM | TSO4, 1), (0, 4)):
        engine.card(1, features=features)
        assert len(engine.receive(0, frame, csum=(34, 16), gso=(TCP4, 1000)).sent) == count
        engine.left()


def test_a_tag_goes_along(engine: Engine) -> None:
    engine.receive(1, udp(2, OWN))
    tcp = TCP(sport=1, dport=2, flags="A", chksum=0)
    head = Ether(src=host(1), dst=host(2)) / Dot1Q(vlan=9) / IP(src="10.9.0.1", dst="10.9.0.2")
    engine.card(1, features=TX_CSUM | TSO4)
    (sent,) = engine.receive(0, head / tcp / Raw(b"m" * 4000), csum=(38, 16), gso=(TCP4, 1000)).sent
    assert (sent.csum_start, sent.hdr_len, sent.gso_size) == (38, 58, 1000)
    engine.card(1, features=0)
    (sent,) = engine.receive(0, head / UDP(sport=1, dport=2) / Raw(b"u"), csum=(38, 6)).sent
    assert sent.csum_start == 0
    engine.harness.do("bridge", 0b111, 1)
    engine.rules(forward=[say.rule(vlan=9, smac=host(1)) >> say.drop])
    assert engine.receive(0, head / UDP() / Raw(b"u")).sent == []
    assert engine.receive(2, head / UDP() / Raw(b"u")).sent == []


def test_rules_see_it_where_they_are_to(engine: Engine) -> None:
    no = [say.rule(in_=0, out=1, proto="udp", dport=2) >> say.drop]
    engine.receive(1, udp(2, OWN))
    engine.rules(forward=say.Chain("forward", rules=no))
    assert cards(engine, 0, udp(1, host(2))) == [1]
    engine.harness.do("bridge", 0b111, 1)
    engine.receive(1, udp(2, OWN))
    assert cards(engine, 0, udp(1, host(2))) == [] and engine.count("filtered") == 1
    assert cards(engine, 2, udp(4, host(2))) == [1]
    assert cards(engine, 0, Ether(src=host(1), dst=ALL) / ARP(pdst="10.9.0.2")) == [1, 2, 3]
    engine.rules(forward=say.Chain("forward", policy=say.drop, rules=[say.rule(state="established") >> say.accept]))
    engine.track()
    assert cards(engine, 0, udp(1, host(2))) == []
    assert cards(engine, 0, udp(1, ALL)) == [3]  # this machine has rules of its own for that
    assert engine.receive(0, udp(1, host(2)), cuts=(20,)).sent == []  # no rule sees it


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("filtered", [0, 1])
def test_frames_that_lie(engine: Engine, seed: int, filtered: int) -> None:
    engine.harness.do("bridge", 0b011, filtered)
    if filtered:
        engine.track()
        engine.rules(forward=[say.rule(proto="udp") >> say.accept])
    assert len(engine.harness.numbers("fuzz", seed, FUZZED)) == 4
    assert engine.count("bridged") > 1000
