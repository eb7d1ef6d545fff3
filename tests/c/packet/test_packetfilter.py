# SPDX-License-Identifier: MIT
"""Rules and flows in the pipeline: what they stop, what they let through, and whose addresses change on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6MLReport2, ICMPv6ND_NS, ICMPv6ND_RA, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.c.packet.packetwords import INSIDE, OUTSIDE, TX_CSUM, Engine, addressed, intact, mac, pseudo, summed, to
from tests.c.support.harness import Harness
from tests.packet import language

say = language.rules
ESTABLISHED = ["established", "related"]


@pytest.fixture
def engine(engine_program: Path) -> Iterator[Engine]:
    """10.0.0.2 is inside, 10.1.0.2 outside."""
    with Harness(engine_program) as harness:
        e = Engine(harness)
        e.know_hosts()
        yield e
        assert e.left() == 0


def out(engine: Engine, packet: Packet) -> Packet | None:
    """From inside to outside, as it leaves."""
    sent = engine.receive(0, to(0, packet)).sent
    assert all(s.card == 1 and s.ether.dst == OUTSIDE and intact(s.ether) for s in sent)
    return sent[0].ether.payload if sent else None


def back(engine: Engine, packet: Packet) -> Packet | None:
    """From outside to inside."""
    sent = engine.receive(1, to(1, packet)).sent
    assert all(s.card == 0 and s.ether.dst == INSIDE and intact(s.ether) for s in sent)
    return sent[0].ether.payload if sent else None


@pytest.mark.parametrize("version", [4, 6])
def test_a_firewall(engine: Engine, version: int) -> None:
    """Connections from inside, and their answers; nothing else."""
    engine.track()
    rules = [say.rule(state=ESTABLISHED) >> say.accept, say.rule(in_=0) >> say.accept]
    engine.rules(forward=say.Chain("forward", policy=say.drop, rules=rules))
    request = addressed(version, 0, 1) / UDP(sport=1000, dport=53) / Raw(b"?")
    answer = addressed(version, 1, 0) / UDP(sport=53, dport=1000) / Raw(b"!")
    other = addressed(version, 1, 0) / UDP(sport=53, dport=1001) / Raw(b"!")
    assert back(engine, answer) is None and engine.count("filtered") == 1
    assert out(engine, request) is not None
    assert back(engine, answer) is not None
    assert back(engine, other) is None and engine.count("filtered") == 2
    syn = addressed(version, 0, 1) / TCP(sport=7, dport=80, flags="S", seq=100)
    assert back(engine, addressed(version, 1, 0) / TCP(sport=9, dport=22, flags="S")) is None
    assert out(engine, syn) is not None
    assert back(engine, addressed(version, 1, 0) / TCP(sport=80, dport=7, flags="SA", seq=5, ack=101)) is not None


def test_masquerade(engine: Engine) -> None:
    engine.track()
    engine.rules(postrouting=[say.rule(out=1) >> say.masquerade])
    for layer in (UDP(sport=1000, dport=53), TCP(sport=1000, dport=53, flags="S"), ICMP(id=1000)):
        sent = out(engine, addressed(4, 0, 1) / layer / Raw(b"data"))
        assert sent is not None and sent.src == "10.1.0.1" and sent.ttl == 63
        if ICMP in sent:
            reply: Packet = ICMP(type=0, id=sent[ICMP].id)
        elif UDP in sent:
            reply = UDP(sport=53, dport=sent.sport)
        else:
            reply = TCP(sport=53, dport=sent.sport, flags="SA", ack=1)
        got = back(engine, IP(src="10.1.0.2", dst="10.1.0.1") / reply / Raw(b"data"))
        assert got is not None and got.dst == "10.0.0.2" and (got[ICMP].id if ICMP in got else got.dport) == 1000
    # What is no answer is for this machine itself.
    assert engine.receive(1, to(1, IP(src="10.1.0.2", dst="10.1.0.1") / UDP(sport=53, dport=9))).fate == "passed"


def test_a_checksum_left_open_stays_right(engine: Engine) -> None:
    engine.track()
    engine.card(1, features=TX_CSUM)
    engine.rules(postrouting=[say.rule(out=1) >> say.masquerade])
    packet = IP(bytes(addressed(4, 0, 1) / UDP(sport=1000, dport=53) / Raw(b"data!")))
    data = bytearray(bytes(to(0, packet)))
    data[40:42] = summed(pseudo(bytes(packet), 17, 13)).to_bytes(2, "big")
    (sent,) = engine.receive(0, bytes(data), csum=(34, 6)).sent
    assert sent.csum_start == 34
    assert sent.data[40:42] == summed(pseudo(sent.data[14:], 17, 13)).to_bytes(2, "big")


def test_port_forwarding(engine: Engine) -> None:
    engine.track()
    engine.rules(prerouting=[say.rule(in_=1, proto="tcp", dport=8080) >> say.dnat("10.0.0.2", 80)])
    got = back(engine, IP(src="10.1.0.2", dst="10.1.0.1") / TCP(sport=5, dport=8080, flags="S"))
    assert got is not None and (got.dst, got.dport, got.src) == ("10.0.0.2", 80, "10.1.0.2")
    answer = out(engine, addressed(4, 0, 1) / TCP(sport=80, dport=5, flags="SA", ack=1))
    assert answer is not None and (answer.src, answer.sport) == ("10.1.0.1", 8080)


def test_errors_are_about_what_was_sent(engine: Engine) -> None:
    """Who sent to the outer address knows no other."""
    engine.track()
    engine.rules(
        prerouting=[say.rule(in_=1, proto="tcp", dport=[8080, 8081]) >> say.dnat("10.0.0.2", 80)],
        forward=[say.rule(proto="tcp", flags="syn", sport=6) >> say.reject("admin-prohibited")],
    )
    for fields, kind in (({"ttl": 1}, 11), ({}, 3)):
        packet = IP(
            bytes(IP(src="10.1.0.2", dst="10.1.0.1", **fields) / TCP(sport=6 - len(fields), dport=8080, flags="S"))
        )
        (sent,) = engine.receive(1, to(1, packet)).sent
        said = sent.ether.payload.payload
        assert (sent.card, said.type) == (1, kind) and intact(sent.ether)
        assert bytes(said)[8:] == bytes(packet)


def test_hairpin(engine: Engine) -> None:
    """A machine inside reaches another one there by the outer address."""
    engine.neighbour(0, "10.0.0.3", "02:00:00:00:00:ab")
    engine.track()
    engine.rules(
        prerouting=[say.rule(dst="10.1.0.1", proto="tcp", dport=8080) >> say.dnat("10.0.0.2", 80)],
        postrouting=[say.rule(src="10.0.0.0/16", dst="10.0.0.2") >> say.masquerade],
    )
    (sent,) = engine.receive(0, to(0, IP(src="10.0.0.3", dst="10.1.0.1") / TCP(sport=5, dport=8080, flags="S"))).sent
    there = sent.ether.payload
    assert (sent.card, there.src, there.dst, there.dport) == (0, "10.0.0.1", "10.0.0.2", 80) and intact(sent.ether)
    reply = IP(src="10.0.0.2", dst="10.0.0.1") / TCP(sport=80, dport=there.sport, flags="SA", ack=1)
    (sent,) = engine.receive(0, to(0, reply)).sent
    here = sent.ether.payload
    assert (here.src, here.sport, here.dst, here.dport) == ("10.1.0.1", 8080, "10.0.0.3", 5) and intact(sent.ether)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("hook", ["forward", "input"])
@pytest.mark.parametrize(
    ("kind", "four", "six"),
    [("port-unreachable", 3, 4), ("host-unreachable", 1, 3), ("net-unreachable", 0, 0), ("admin-prohibited", 13, 1)],
)
def test_reject(engine: Engine, hook: str, version: int, kind: str, four: int, six: int) -> None:
    engine.rules(**{hook: [say.rule(proto="udp") >> say.reject(kind)]})
    packet = addressed(version, 0, 1) / UDP()
    if hook == "input":
        packet.dst = "10.0.0.1" if version == 4 else "2001:db8::1"
    result = engine.receive(0, to(0, packet))
    (sent,) = result.sent
    said = sent.ether.payload.payload
    assert (said.type, said.code) == ((3, four) if version == 4 else (1, six)) and intact(sent.ether)
    assert (result.fate, sent.card, engine.count("rejected")) == ("dropped", 0, 1)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"flags": "S", "seq": 7}, ("RA", 0, 8)),
        ({"flags": "A", "seq": 7, "ack": 99}, ("R", 99, 0)),
        ({"flags": "F", "seq": 7}, ("RA", 0, 12)),
    ],
)
def test_reset(engine: Engine, version: int, fields: dict[str, object], wanted: tuple[str, int, int]) -> None:
    engine.rules(forward=[say.rule(proto="tcp") >> say.reject("tcp-reset")])
    data = b"" if fields["flags"] == "S" else b"data"
    (sent,) = engine.receive(0, to(0, addressed(version, 0, 1) / TCP(sport=3, dport=4, **fields) / Raw(data))).sent
    tcp = sent.ether[TCP]
    assert intact(sent.ether) and sent.ether.dst == INSIDE and sent.ether.payload.src == addressed(version, 0, 1).dst
    assert (tcp.sport, tcp.dport, str(tcp.flags), tcp.seq, tcp.ack) == (4, 3, *wanted)
    assert engine.receive(0, to(0, addressed(version, 0, 1) / TCP(flags="R"))).sent == []


def test_input(engine: Engine) -> None:
    engine.track()
    rules = [say.rule(state="established") >> say.accept, say.rule(proto="tcp", dport=22) >> say.accept]
    engine.rules(input=say.Chain("input", policy=say.drop, rules=rules))

    def fate(packet: Packet, target: str = mac(0)) -> str:
        return engine.receive(0, Ether(dst=target, src=INSIDE) / packet).fate

    assert fate(IP(src="10.0.0.2", dst="10.0.0.1") / TCP(dport=22, flags="S")) == "passed"
    assert fate(IP(src="10.0.0.2", dst="10.0.0.1") / TCP(dport=23, flags="S")) == "dropped"
    assert fate(IP(src="10.0.0.2", dst="224.0.0.5") / UDP(), "01:00:5e:00:00:05") == "dropped"
    assert (
        fate(IP(src="10.0.0.2", dst="255.255.255.255") / UDP(sport=67, dport=68) / BOOTP(), "ff:ff:ff:ff:ff:ff")
        == "dropped"
    )
    assert fate(IP(src="10.0.0.2", dst="10.0.0.1") / TCP(dport=23), "02:00:00:00:00:77") == "dropped"
    # The link itself works all the same.
    assert fate(ARP(pdst="10.0.0.1"), "ff:ff:ff:ff:ff:ff") == "passed"
    assert (
        fate(IPv6(src="fe80::2", dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt="fe80::1"), "33:33:ff:00:00:01")
        == "passed"
    )
    assert fate(IPv6(src="fe80::2", dst="ff02::1", hlim=255) / ICMPv6ND_RA(), "33:33:00:00:00:01") == "passed"
    assert fate(IPv6(src="fe80::2", dst="ff02::16", hlim=1) / ICMPv6MLReport2(), "33:33:00:00:00:16") == "passed"
    assert fate(IPv6(src="fe80::2", dst="ff02::1", hlim=64) / ICMPv6ND_RA(), "33:33:00:00:00:01") == "dropped"
    # And so do answers to what this machine asks.
    answer = IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=53, dport=4000)
    assert fate(answer) == "dropped"
    engine.sends(0, Ether(dst=INSIDE, src=mac(0)) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=4000, dport=53))
    assert fate(answer) == "passed"


def test_an_address_by_dhcp(engine: Engine) -> None:
    """The answer comes to an address that no card has; it is this machine's only where its card has none."""
    answer = Ether(dst=mac(0), src=INSIDE) / IP(src="10.9.0.2", dst="10.9.0.50") / UDP(sport=67, dport=68) / BOOTP()
    assert engine.receive(0, answer).fate == "dropped"
    engine.harness.do("bare", 0)
    assert engine.receive(0, answer).fate == "passed"
    assert engine.receive(1, answer).fate == "dropped"
    engine.rules(input=say.Chain("input", policy=say.drop, rules=[say.rule(proto="udp", sport=67) >> say.accept]))
    assert engine.receive(0, answer).fate == "passed"
    answer[UDP].sport = 66
    assert engine.receive(0, answer).fate == "dropped"
    answer[UDP].sport = 67
    engine.rules(input=say.Chain("input", policy=say.drop, rules=[]))
    assert engine.receive(0, answer).fate == "dropped"


def test_no_frame_gets_around_the_rules(engine: Engine) -> None:
    engine.rules(input=say.Chain("input", policy=say.drop, rules=[]))
    frame = to(0, IP(src="10.0.0.2", dst="10.0.0.1") / TCP(dport=22))
    for cuts in ((), (1,), (14,), (20,), (33,)):
        assert engine.receive(0, frame, cuts=cuts).fate == "dropped"


def test_a_full_table(engine: Engine) -> None:
    """New flows are refused, those that are there go on."""
    engine.track(16)
    engine.rules(forward=[say.rule(state="invalid") >> say.drop])
    first = addressed(4, 0, 1) / UDP(sport=1, dport=53)
    assert out(engine, first) is not None
    assert back(engine, addressed(4, 1, 0) / UDP(sport=53, dport=1)) is not None
    for port in range(2, 40):
        out(engine, addressed(4, 0, 1) / UDP(sport=port, dport=53))
    assert engine.count("no_flow") > 0
    assert out(engine, first) is not None


def test_what_is_dropped_leaves_no_flow(engine: Engine) -> None:
    engine.track(16)
    engine.rules(forward=[say.rule(dport=53, proto="udp") >> say.drop])
    for port in range(100):
        assert out(engine, addressed(4, 0, 1) / UDP(sport=port, dport=53)) is None
    assert engine.count("filtered") == 100
    assert out(engine, addressed(4, 0, 1) / UDP(sport=1, dport=54)) is not None


@pytest.mark.parametrize("seed", [7])
def test_frames_at_random(engine: Engine, seed: int) -> None:
    """With everything that changes packets."""
    engine.track(256)
    engine.rules(
        prerouting=[say.rule(proto="udp", in_=2) >> say.dnat("10.0.0.2", 80)],
        forward=[say.rule(proto="tcp", in_=1) >> say.reject("tcp-reset"), say.rule(ttl=63) >> say.drop],
        postrouting=[say.rule(out=1) >> say.masquerade],
    )
    for number in range(6):
        counts = engine.harness.numbers("fuzz", seed * 1000 + number, 10_000)
    assert counts[0] > 1000 and counts[3] > 100
    assert engine.count("held") > 1000
