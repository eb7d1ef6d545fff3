# SPDX-License-Identifier: MIT
"""The engine forwards between cards in memory: frames as they shall be, and frames that lie; then frames at random."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_RR, defragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.c.packet.packetwords import (
    TCP4,
    TCP6,
    TSO4,
    TSO6,
    TX_CSUM,
    Engine,
    addressed,
    intact,
    mac,
    pseudo,
    summed,
    to,
)
from tests.c.support.harness import Harness

FUZZED = 100_000
HOST = "02:00:00:00:01:02"  # who has .2 on the second card's network
BOTH = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def engine(engine_program: Path) -> Iterator[Engine]:
    with Harness(engine_program) as harness:
        e = Engine(harness)
        e.neighbour(1, "10.1.0.2", HOST)
        e.neighbour(1, "2001:db8:1::2", HOST)
        e.neighbour(0, "10.0.0.2", "02:00:00:00:00:aa")
        e.neighbour(0, "2001:db8::2", "02:00:00:00:00:aa")
        yield e
        assert e.left() == 0


def udp(version: int, **fields: int) -> Packet:
    return addressed(version, 0, 1, **fields) / UDP(sport=1000, dport=53) / Raw(b"question")


# ---- what goes on -------------------------------------------------------------------------------------


@BOTH
def test_a_packet_goes_on(engine: Engine, version: int) -> None:
    frame = to(0, udp(version))
    (sent,) = engine.receive(0, bytes(frame) + b"\0" * 9).sent  # Ethernet's padding is not the packet's
    assert (sent.card, sent.gso, sent.csum_start) == (1, 0, 0)
    out = sent.ether
    assert (out.dst, out.src) == (HOST, mac(1)) and intact(out)
    expected = udp(version, ttl=63)
    assert bytes(out.payload) == bytes(expected)
    assert engine.count("forwarded") == 1 and engine.count("forwarded_bytes") == len(expected)


def test_the_header_s_checksum_is_right_for_every_sum(engine: Engine) -> None:
    for number in range(0, 65536, 111):
        (sent,) = engine.receive(0, to(0, udp(4, id=number, ttl=number % 254 + 2))).sent
        assert intact(sent.ether)
        engine.left()


def test_routes_by_gateway(engine: Engine) -> None:
    engine.route("198.51.100.0/24", 1, "10.1.0.2")
    engine.route("2001:db8:ff00::/40", 1, "2001:db8:1::2")
    for packet in (IP(src="10.0.0.2", dst="198.51.100.7"), IPv6(src="2001:db8::2", dst="2001:db8:ff01::7")):
        (sent,) = engine.receive(0, to(0, packet / UDP())).sent
        assert sent.card == 1 and sent.ether.dst == HOST


@pytest.mark.parametrize(
    "layers", [IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(m=1)]
)
def test_extension_headers_go_along(engine: Engine, layers: Packet) -> None:
    (sent,) = engine.receive(0, to(0, addressed(6, 0, 1) / layers / UDP() / Raw(b"x" * 16))).sent
    assert sent.ether.hlim == 63


# ---- what is this machine's, or nobody's --------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        Ether(dst=mac(0)) / ARP(pdst="10.0.0.1"),
        Ether(dst="ff:ff:ff:ff:ff:ff") / IP(src="10.0.0.2", dst="10.1.0.2") / UDP(),
        to(0, IP(src="10.0.0.2", dst="10.0.0.1") / UDP()),
        to(0, IP(src="10.0.0.2", dst="10.1.0.1") / UDP()),
        to(0, IP(src="10.0.0.2", dst="10.0.255.255") / UDP()),
        to(0, IP(src="10.0.0.2", dst="224.0.0.5") / UDP()),
        to(0, IPv6(src="2001:db8::2", dst="2001:db8:1::1") / UDP()),
        to(0, IPv6(src="fe80::2", dst="fe80::1") / UDP()),
        to(0, IPv6(src="fe80::2", dst="ff02::1") / UDP()),
        Ether(dst=mac(0), type=0x88CC) / Raw(b"x" * 60),
        bytes.fromhex(mac(0).replace(":", "")),
        b"",
    ],
)
def test_what_lwip_gets(engine: Engine, frame: Packet | bytes) -> None:
    result = engine.receive(0, frame)
    assert result.fate in ("passed", "dropped") and not result.sent
    assert result.fate == "passed" or len(bytes(frame)) < 14


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (IP(src="10.1.0.1", dst="10.0.0.1"), "spoofed"),
        (IP(src="10.0.0.1", dst="10.1.0.2"), "spoofed"),
        (IPv6(src="2001:db8:1::1", dst="2001:db8::1"), "spoofed"),
        (IP(src="127.0.0.1", dst="10.1.0.2"), "martian"),
        (IP(src="10.0.0.2", dst="127.0.0.1"), "martian"),
        (IP(src="0.0.0.0", dst="10.1.0.2"), "martian"),
        (IP(src="224.0.0.1", dst="10.1.0.2"), "martian"),
        (IP(src="255.255.255.255", dst="10.1.0.2"), "martian"),
        (IP(src="169.254.1.1", dst="10.1.0.2"), "martian"),
        (IPv6(src="::1", dst="2001:db8:1::2"), "martian"),
        (IPv6(src="::", dst="2001:db8:1::2"), "martian"),
        (IPv6(src="fe80::1", dst="2001:db8:1::2"), "martian"),
        (IPv6(src="ff02::1", dst="2001:db8:1::2"), "martian"),
        (IPv6(src="::ffff:10.0.0.2", dst="2001:db8:1::2"), "martian"),
        (IP(src="10.0.0.2", dst="10.1.255.255"), "broadcast"),
        (IP(src="10.0.0.2", dst="10.1.0.2", options=[IPOption_LSRR(routers=["10.1.0.9"])]), "bad"),
        (IP(src="10.0.0.2", dst="10.1.0.2", chksum=1), "bad"),
        (IP(src="10.0.0.2", dst="10.1.0.2", version=5), "bad"),
        (IP(src="10.0.0.2", dst="10.1.0.2", ihl=4), "bad"),
        (IP(src="10.0.0.2", dst="10.1.0.2", ihl=15), "bad"),
        (IP(src="10.0.0.2", dst="10.1.0.2", len=19), "bad"),
        (IP(src="10.0.0.2", dst="10.1.0.2", len=65535), "bad"),
        (IP(src="10.0.0.2", dst="10.1.0.2", frag=8191, flags=0), "bad"),
        (IPv6(src="2001:db8::2", dst="2001:db8:1::2", plen=65535), "bad"),
        (IPv6(src="2001:db8::2", dst="2001:db8:1::2", version=4), "bad"),
    ],
)
def test_what_nobody_gets(engine: Engine, packet: Packet, why: str) -> None:
    result = engine.receive(0, to(0, packet / UDP() / Raw(b"x" * 20)))
    assert (result.fate, result.sent, engine.count(why)) == ("dropped", [], 1)


def test_what_is_another_machine_s(engine: Engine) -> None:
    for destination in ("10.1.0.2", "10.0.0.1"):
        frame = Ether(dst="02:00:00:00:00:77") / IP(src="10.0.0.2", dst=destination) / UDP()
        assert engine.receive(0, frame).fate == "dropped"
    assert engine.count("not_ours") == 2


def test_options_that_cannot_be(engine: Engine) -> None:
    whole = bytes(to(0, IP(src="10.0.0.2", dst="10.1.0.2", options=[IPOption_RR(routers=["0.0.0.0"])]) / UDP()))
    assert engine.receive(0, whole).fate == "kept"
    for size in (0, 1, 9, 255):
        packet = IP(whole[14:34] + bytes([7, size]) + whole[36:])
        del packet.chksum
        assert engine.receive(0, Ether(whole[:14]) / packet).fate == "dropped", size


def test_headers_in_pieces_are_left_to_lwip(engine: Engine) -> None:
    frame = to(0, udp(4))
    for cut in (1, 14, 20, 33):
        assert engine.receive(0, frame, cuts=(cut,)).fate == "passed"
    (sent,) = engine.receive(0, frame, cuts=(34, 40)).sent
    assert intact(sent.ether)


# ---- errors -----------------------------------------------------------------------------------------


def error(result: object, version: int) -> Packet:
    (sent,) = result.sent  # type: ignore[attr-defined]  # a Result, or the test fails here
    assert result.fate == "dropped" and sent.card == 0  # type: ignore[attr-defined]  # as above
    out = sent.ether
    assert out.dst == "02:00:00:00:00:aa" and intact(out)
    assert out.payload.src == ("10.0.0.1" if version == 4 else "2001:db8::1")
    return out.payload.payload


@BOTH
@pytest.mark.parametrize("ttl", [0, 1])
def test_time_exceeded(engine: Engine, version: int, ttl: int) -> None:
    packet = udp(version, ttl=ttl)
    said = error(engine.receive(0, to(0, packet)), version)
    if version == 4:
        assert (said.type, said.code) == (11, 0) and bytes(said)[8:] == bytes(packet)
    else:
        assert isinstance(said, ICMPv6TimeExceeded) and said.code == 0 and bytes(said)[8:] == bytes(packet)
    assert engine.count("expired") == engine.count("icmp") == 1


@BOTH
def test_no_route(engine: Engine, version: int) -> None:
    packet = IP(src="10.0.0.2", dst="192.0.2.1") if version == 4 else IPv6(src="2001:db8::2", dst="2001:db9::1")
    said = error(engine.receive(0, to(0, packet / UDP())), version)
    assert (said.type, said.code) == ((3, 0) if version == 4 else (1, 0))
    assert engine.count("no_route") == 1


@BOTH
def test_too_big(engine: Engine, version: int) -> None:
    engine.card(1, mtu=1300)
    flags = {"flags": 2} if version == 4 else {}
    packet = addressed(version, 0, 1, **flags) / UDP() / Raw(b"x" * 1300)
    said = error(engine.receive(0, to(0, packet)), version)
    if version == 4:
        assert (said.type, said.code, said.nexthopmtu) == (3, 4, 1300) and len(bytes(said)) == 556
    else:
        assert isinstance(said, ICMPv6PacketTooBig) and said.mtu == 1300 and len(bytes(said)) == 1240
    assert engine.count("too_big") == 1


def test_a_link_below_ipv6_s_least(engine: Engine) -> None:
    engine.card(1, mtu=600)
    said = error(engine.receive(0, to(0, addressed(6, 0, 1) / UDP() / Raw(b"x" * 900))), 6)
    assert said.mtu == 1280


@BOTH
def test_nobody_answers(engine: Engine, version: int) -> None:
    gone = "10.1.0.77" if version == 4 else "2001:db8:1::77"
    packet = addressed(version, 0, 1) / UDP()
    packet.dst = gone
    result = engine.receive(0, to(0, packet))
    assert (result.fate, result.sent, result.asked) == ("kept", [], [(1, gone)])
    assert engine.receive(0, to(0, packet)).asked == []
    for _ in range(2):
        assert engine.run(0.99).asked == []
        assert engine.run(0.02).asked == [(1, gone)]
    said = engine.run(1.02).sent
    assert [sent.card for sent in said] == [0, 0] and engine.count("unreachable") == 2
    kind = said[0].ether.payload.payload
    assert (kind.type, kind.code) == ((3, 1) if version == 4 else (1, 3))
    assert isinstance(kind, ICMP | ICMPv6DestUnreach) and intact(said[0].ether)


@BOTH
def test_somebody_answers(engine: Engine, version: int) -> None:
    late = "10.1.0.78" if version == 4 else "2001:db8:1::78"
    packet = addressed(version, 0, 1) / UDP() / Raw(b"first")
    packet.dst = late
    for _ in range(10):
        engine.receive(0, to(0, packet))
    assert engine.count("no_room") == 2  # eight wait
    engine.neighbour(1, late, "02:00:00:00:01:78")
    sent = engine.run().sent
    assert len(sent) == 8 and {s.ether.dst for s in sent} == {"02:00:00:00:01:78"}
    assert all(intact(s.ether) for s in sent)
    assert len(engine.receive(0, to(0, packet)).sent) == 1


def test_a_scan_does_not_take_all_room(engine: Engine) -> None:
    for number in range(200):
        engine.receive(0, to(0, IP(src="10.0.0.2", dst=f"10.1.1.{number}") / UDP()))
    assert engine.count("no_room") == 200 - 32
    assert len(engine.receive(0, to(0, udp(4))).sent) == 1
    for _ in range(8):
        engine.run(1)


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="10.0.0.2", dst="10.1.0.2", ttl=1) / ICMP(type=3) / IP() / UDP(),
        IP(src="10.0.0.2", dst="10.1.0.2", ttl=1) / ICMP(type=11) / IP() / UDP(),
        IP(src="10.0.0.2", dst="10.1.0.2", ttl=1, frag=10) / Raw(b"x" * 40),
        IP(src="10.0.0.2", dst="10.1.0.2", ttl=1, proto=1) / Raw(b"\3"),
        IPv6(src="2001:db8::2", dst="2001:db8:1::2", hlim=1) / ICMPv6TimeExceeded() / IPv6(),
        IPv6(src="2001:db8::2", dst="2001:db8:1::2", hlim=1) / IPv6ExtHdrFragment(offset=3) / Raw(b"x" * 40),
        IP(src="192.0.2.7", dst="10.1.0.2", ttl=1) / UDP(),
    ],
)
def test_no_error_about(engine: Engine, packet: Packet) -> None:
    result = engine.receive(0, to(0, packet))
    assert (result.fate, result.sent) == ("dropped", []) and engine.count("expired") == 1


def test_errors_about_echoes_are_told(engine: Engine) -> None:
    assert error(engine.receive(0, to(0, addressed(4, 0, 1, ttl=1) / ICMP())), 4).type == 11
    assert error(engine.receive(0, to(0, addressed(6, 0, 1, ttl=1) / ICMPv6EchoRequest())), 6).type == 3


def test_errors_have_a_limit(engine: Engine) -> None:
    for _ in range(60):
        engine.receive(0, to(0, udp(4, ttl=1)))
        engine.left()
    assert (engine.count("icmp"), engine.count("icmp_limited")) == (50, 10)
    engine.run(0.0051)
    for _ in range(10):
        engine.receive(0, to(0, udp(4, ttl=1)))
    assert engine.count("icmp") == 55


def test_a_card_that_is_down(engine: Engine) -> None:
    engine.card(1, up=False)
    assert error(engine.receive(0, to(0, udp(4))), 4).type == 3


def test_a_card_that_takes_no_more(engine: Engine) -> None:
    engine.card(1, room=1)
    assert len(engine.receive(0, to(0, udp(4))).sent) == 1
    result = engine.receive(0, to(0, udp(4)))
    assert (result.fate, result.sent, engine.count("card_full")) == ("kept", [], 1)
    assert engine.left() == 0


def test_frames_in_flight_have_a_bound(engine: Engine) -> None:
    fates = [engine.receive(0, to(0, udp(4))).fate for _ in range(200)]
    assert "dropped" in fates and engine.count("no_room") == fates.count("dropped")
    assert engine.left() == 0
    assert engine.receive(0, to(0, udp(4))).fate == "kept"


# ---- what is cut ------------------------------------------------------------------------------------


def test_fragments(engine: Engine) -> None:
    engine.card(1, mtu=700)
    packet = addressed(4, 0, 1, id=77) / UDP(sport=5, dport=6) / Raw(bytes(range(250)) * 6)
    result = engine.receive(0, to(0, packet), cuts=(300, 301, 900))
    frames = [sent.ether for sent in result.sent]
    assert len(frames) == 3 and all(len(f.payload) <= 700 and intact(f) for f in frames)
    (whole,) = defragment([IP(bytes(f.payload)) for f in frames])
    assert bytes(whole[UDP]) == bytes(IP(bytes(packet))[UDP])
    assert engine.count("fragmented") == 1


def test_fragments_of_a_fragment_and_of_options(engine: Engine) -> None:
    engine.card(1, mtu=500)
    options = [IPOption_RR(routers=["0.0.0.0"] * 3), bytes.fromhex("820b0000000000000000000000")[:11]]
    packet = IP(src="10.0.0.2", dst="10.1.0.2", flags=1, frag=100, options=options[:1], proto=17) / Raw(b"y" * 1000)
    frames = [sent.ether for sent in engine.receive(0, to(0, packet)).sent]
    assert [f.payload.flags.MF for f in frames] == [True] * len(frames)
    assert frames[0].payload.options and not frames[1].payload.options  # a recorded route is not copied
    assert all(intact(f) for f in frames)
    payload = b""
    for f in frames:
        assert f.payload.frag == 100 + len(payload) // 8
        payload += bytes(f.payload.payload)
    assert payload == b"y" * 1000


def test_fragments_have_whole_checksums(engine: Engine) -> None:
    """What the host left to a device is done before."""
    engine.card(1, mtu=700, features=TX_CSUM)
    packet = IP(bytes(addressed(4, 0, 1) / UDP() / Raw(b"z" * 1201)))
    partial = bytearray(bytes(to(0, packet)))
    partial[40:42] = open_sum(packet, 17, len(packet[UDP]))
    frames = [sent.ether for sent in engine.receive(0, bytes(partial), csum=(34, 6), cuts=(100, 333)).sent]
    (whole,) = defragment([IP(bytes(f.payload)) for f in frames])
    assert whole[UDP].chksum == packet[UDP].chksum


def open_sum(packet: Packet, proto: int, size: int) -> bytes:
    """What stands where a device puts the checksum: the pseudo header's sum."""
    return summed(pseudo(bytes(packet), proto, size)).to_bytes(2, "big")


def large(version: int, size: int) -> tuple[bytes, Packet]:
    """A large TCP frame with a partial checksum, and the packet it stands for."""
    header = TCP(sport=1, dport=2, seq=0xFFFFFF00, flags="PAFC")
    packet = addressed(version, 0, 1) / header / Raw(bytes(i * 7 & 0xFF for i in range(size)))
    packet = type(packet)(bytes(packet))
    at = 34 if version == 4 else 54
    data = bytearray(bytes(to(0, packet)))
    data[at + 16 : at + 18] = open_sum(packet, 6, len(packet[TCP]))
    return bytes(data), packet


@BOTH
def test_large_tcp_goes_through(engine: Engine, version: int) -> None:
    engine.card(1, features=TX_CSUM | TSO4 | TSO6)
    data, _ = large(version, 20000)
    at = 34 if version == 4 else 54
    kind = TCP4 if version == 4 else TCP6
    (sent,) = engine.receive(0, data, csum=(at, 16), gso=(kind, 1400), cuts=(4000, 8000, 12000)).sent
    assert (sent.csum_start, sent.csum_offset, sent.gso, sent.gso_size, sent.hdr_len) == (at, 16, kind, 1400, at + 20)
    assert sent.data[at:] == data[at:]


@BOTH
@pytest.mark.parametrize("features", [0, TX_CSUM])
def test_large_tcp_is_cut(engine: Engine, version: int, features: int) -> None:
    engine.card(1, features=features)
    data, packet = large(version, 20001)
    at = 34 if version == 4 else 54
    kind = TCP4 if version == 4 else TCP6
    result = engine.receive(0, data, csum=(at, 16), gso=(kind, 1400), cuts=(4001, 8000, 12003))
    assert engine.count("segmented") == 1
    got = b""
    for number, sent in enumerate(result.sent):
        out = sent.ether
        tcp = out[TCP]
        last = number == len(result.sent) - 1
        if features:
            assert sent.data[at + 16 : at + 18] == open_sum(out.payload, 6, len(bytes(tcp)))
            assert (sent.csum_start, sent.csum_offset) == (at, 16)
            assert version == 6 or IP(bytes(out.payload)[:20]).chksum is not None
        else:
            assert intact(out)
        assert tcp.seq == (0xFFFFFF00 + len(got)) & 0xFFFFFFFF and (sent.gso, sent.gso_size) == (0, 0)
        flags = tcp.flags
        assert last == flags.F and last == flags.P and (number == 0) == flags.C
        assert len(out.payload) <= 1500
        got += bytes(tcp.payload)
    assert got == bytes(packet[TCP].payload)


def test_segments_fit_a_narrow_link(engine: Engine) -> None:
    engine.card(1, mtu=600, features=TX_CSUM | TSO4)
    data, _ = large(4, 5000)
    (sent,) = engine.receive(0, data, csum=(34, 16), gso=(TCP4, 1448)).sent
    assert sent.gso_size == 600 - 40  # nobody forbade to cut
    packet = Ether(data)
    packet.flags = 2
    del packet.payload.chksum
    data = bytes(packet)[:50] + data[50:52] + bytes(packet)[52:]
    assert error(engine.receive(0, data, csum=(34, 16), gso=(TCP4, 1448)), 4).nexthopmtu == 600


@BOTH
def test_a_checksum_left_open(engine: Engine, version: int) -> None:
    data, _ = large(version, 701)
    at = 34 if version == 4 else 54
    for start in ((at, 16), (0, 16)):  # told, or to be found
        (sent,) = engine.receive(0, data, csum=start).sent
        assert intact(sent.ether)
        engine.card(1, features=TX_CSUM)
        (sent,) = engine.receive(0, data, csum=start).sent
        assert (sent.csum_start, sent.csum_offset) == (at, 16) and sent.data[at:] == data[at:]
        engine.card(1)


@pytest.mark.parametrize(
    ("csum", "gso"),
    [
        ((34, 16), (TCP6, 1400)),
        ((34, 16), (TCP4, 1)),
        ((0, 0), (TCP4, 1400)),
        ((65000, 16), (0, 0)),
        ((1, 1), (0, 0)),
        ((34, 65000), (0, 0)),
    ],
)
def test_what_a_card_says_and_is_not_so(engine: Engine, csum: tuple[int, int], gso: tuple[int, int]) -> None:
    engine.card(1, features=TX_CSUM | TSO4 | TSO6)
    data, _ = large(4, 3000 if gso[0] else 300)
    result = engine.receive(0, data, csum=csum, gso=gso)
    assert (result.fate, engine.count("bad")) == ("dropped", 1)


@pytest.mark.parametrize("seed", [1, 2])
def test_frames_at_random(engine: Engine, seed: int) -> None:
    counts = [0, 0, 0, 0]
    step = 10_000  # an answer has its deadline
    for number in range(FUZZED // step):
        counts = engine.harness.numbers("fuzz", seed * 1000 + number, step)
    assert all(count > 100 for count in counts), counts
