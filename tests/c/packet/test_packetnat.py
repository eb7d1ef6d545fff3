# SPDX-License-Identifier: MIT
"""modules/packet/packetnat.c: every packet that leaves is what its new sender would have sent, checksums and all; and
what comes back is what the old one awaits."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.packet import flowpackets as fp
from tests.c.packet.flowtable import ESTABLISHED, INVALID, NEW, RELATED, Looked, Table
from tests.c.support.harness import EINVAL, Harness

EADDRINUSE = -98
IN, OUT, PEER, SERVER, ROUTER = "10.0.0.5", "203.0.113.1", "192.0.2.7", "10.0.0.80", "198.51.100.3"
GRE, UDP_LITE = 47, 136


def snat(address: str = OUT, *, bits: int = 0, ports: tuple[int, int] = (0, 0), keep: bool = False) -> list[object]:
    return ["snat", int(IPv4Address(address)), bits, *ports, int(keep)]


def dnat(address: str = SERVER, *, bits: int = 0, ports: tuple[int, int] = (0, 0), base: int = 0) -> list[object]:
    return ["dnat", int(IPv4Address(address)), bits, *ports, base]


def see(table: Table, packet: bytes, *words: object) -> Looked:
    looked = table.see(packet, *words)
    assert looked is not None
    return looked


def port_of(table: Table) -> int:
    """The outer port of the only flow."""
    return table.only().tuples[1][3]


Maker = Callable[[str, int, str, int], bytes]


def tcp_syn(src: str, sport: int, dst: str, dport: int) -> bytes:
    return fp.tcp(src, sport, dst, dport, fp.SYN, seq=7, scale=3)


def tcp_answer(src: str, sport: int, dst: str, dport: int) -> bytes:
    return fp.tcp(src, sport, dst, dport, fp.SYN | fp.ACK, seq=70, ack=8)


def udp(src: str, sport: int, dst: str, dport: int) -> bytes:
    return fp.udp(src, sport, dst, dport, b"some bytes")


def udp_unsummed(src: str, sport: int, dst: str, dport: int) -> bytes:
    packet = udp(src, sport, dst, dport)
    return packet[:26] + bytes(2) + packet[28:]


PAIRS = {"tcp": (tcp_syn, tcp_answer), "udp": (udp, udp), "no checksum": (udp_unsummed, udp_unsummed)}


@pytest.mark.parametrize("kind", PAIRS)
def test_masquerade(table: Table, kind: str) -> None:
    there, back = PAIRS[kind]
    looked = see(table, there(IN, 4000, PEER, 80), *snat())
    outer = port_of(table)
    assert (looked.state, looked.result) == (NEW, 0)
    assert 1024 <= outer <= 32767
    assert looked.packet == there(OUT, outer, PEER, 80)
    assert table.only().tuples == ((IN, 4000, PEER, 80), (PEER, 80, OUT, outer))
    assert table.only().nat == 2
    looked = see(table, back(PEER, 80, OUT, outer))
    assert (looked.state, looked.packet) == (ESTABLISHED, back(PEER, 80, IN, 4000))
    assert see(table, there(IN, 4000, PEER, 80)).packet == there(OUT, outer, PEER, 80)


@pytest.mark.parametrize("own", [77, 0])
def test_masqueraded_pings(table: Table, own: int) -> None:
    looked = see(table, fp.echo(IN, PEER, own), *snat())
    ident = table.only().tuples[1][1]
    assert looked.packet == fp.echo(OUT, PEER, ident)
    assert see(table, fp.echo(PEER, OUT, ident, reply=True)).packet == fp.echo(PEER, IN, own, reply=True)
    looked = see(table, fp.echo(PEER, OUT, ident))  # who asks from there with that identifier is no reply
    assert (looked.state, looked.dir) == (NEW, 0)


@pytest.mark.parametrize("proto", [GRE, UDP_LITE, 132])
def test_what_has_no_ports_has_addresses(table: Table, proto: int) -> None:
    def packet(src: str, dst: str) -> bytes:
        body = struct.pack(">HHHH", 5, 6, 8 if proto == UDP_LITE else 12, 0) + b"abcd"
        if proto == UDP_LITE:
            total = fp.ones_sum(fp.pseudo(src, dst, proto, len(body)) + body[:8])
            body = body[:6] + struct.pack(">H", 0xFFFF - total) + body[8:]
        return fp.ip4(src, dst, proto, body)

    assert see(table, packet(IN, PEER), *snat()).packet == packet(OUT, PEER)
    assert see(table, packet(PEER, OUT)).packet == packet(PEER, IN)
    assert see(table, packet("10.0.0.6", PEER), *snat()).result == EADDRINUSE


@pytest.mark.parametrize("kind", PAIRS)
def test_a_port_that_is_forwarded(table: Table, kind: str) -> None:
    there, back = PAIRS[kind]
    looked = see(table, there(PEER, 4000, OUT, 80), *dnat(ports=(8080, 8080)))
    assert looked.packet == there(PEER, 4000, SERVER, 8080)
    assert table.only().nat == 1
    assert see(table, back(SERVER, 8080, PEER, 4000)).packet == back(OUT, 80, PEER, 4000)
    assert see(table, there(PEER, 4000, OUT, 80)).packet == there(PEER, 4000, SERVER, 8080)


def test_a_range_of_ports_is_forwarded(table: Table) -> None:
    for port in range(8000, 8011):
        looked = see(table, udp(PEER, 4000, OUT, port), *dnat(ports=(80, 90), base=8000))
        assert looked.packet == udp(PEER, 4000, SERVER, port - 7920)
    seen = set()
    for port in range(1, 60):
        looked = see(table, udp(PEER, port, OUT, 443), *dnat(ports=(500, 503)))
        seen.add(int.from_bytes(looked.packet[22:24], "big"))
    assert seen == {500, 501, 502, 503}
    assert see(table, udp(PEER, 99, OUT, 502), *dnat(ports=(500, 503))).packet == udp(PEER, 99, SERVER, 502)


@pytest.mark.parametrize("kind", PAIRS)
def test_hairpin(table: Table, kind: str) -> None:
    """A machine inside reaches one beside it by the outer address: both ends are translated in one flow."""
    there, back = PAIRS[kind]
    looked = see(table, there(IN, 4000, OUT, 80), *dnat(ports=(8080, 8080)), *snat("10.0.0.1"))
    outer = port_of(table)
    assert table.only().nat == 3
    assert looked.packet == there("10.0.0.1", outer, SERVER, 8080)
    assert see(table, back(SERVER, 8080, "10.0.0.1", outer)).packet == back(OUT, 80, IN, 4000)
    assert see(table, there(IN, 4000, OUT, 80)).packet == there("10.0.0.1", outer, SERVER, 8080)


def test_static(table: Table) -> None:
    """One address for another, and a network for a network."""
    assert see(table, udp(IN, 4000, PEER, 80), *snat(keep=True)).packet == udp(OUT, 4000, PEER, 80)
    assert see(table, udp(PEER, 5000, OUT, 81), *dnat(IN)).packet == udp(PEER, 5000, IN, 81)
    assert see(table, udp("10.0.0.6", 4000, PEER, 80), *snat(keep=True)).result == EADDRINUSE
    net = snat("203.0.113.128", bits=25, keep=True)
    assert see(table, udp("10.0.0.77", 1, PEER, 2), *net).packet == udp("203.0.113.205", 1, PEER, 2)
    assert see(table, fp.echo("10.0.0.77", PEER, 2), *net).packet == fp.echo("203.0.113.205", PEER, 2)
    looked = see(table, udp(PEER, 1, "203.0.113.130", 2), *dnat("10.0.0.0", bits=25))
    assert looked.packet == udp(PEER, 1, "10.0.0.2", 2)


def test_one_port_for_all_that_it_talks_to(table: Table) -> None:
    """RFC 4787, REQ-1; and none that tells anything about another (RFC 6056)."""
    ports = []
    for source in range(30):
        for peer in (PEER, ROUTER):
            looked = see(table, udp(IN, 4000 + source, peer, 80), *snat())
            ports.append(int.from_bytes(looked.packet[20:22], "big"))
    assert ports[::2] == ports[1::2]
    assert len(set(ports)) == 30
    steps = {(b - a) % 31744 for a, b in zip(ports[::2], ports[2::2], strict=False)}
    assert len(steps) == 29


def test_a_range_is_used_up(h: Harness) -> None:
    table = Table(h, 1000)
    words = snat(ports=(5000, 5099))
    used = set()
    for source in range(100):
        looked = see(table, tcp_syn(IN, 1000 + source, PEER, 80), *words)
        assert looked.result == 0
        used.add(int.from_bytes(looked.packet[20:22], "big"))
    assert used == set(range(5000, 5100))
    for _ in range(3):
        assert see(table, tcp_syn(IN, 2000, PEER, 80), *words).result == EADDRINUSE
    stats = table.stats()
    assert (stats["ports_exhausted"], stats["flows"]) == (3, 100)
    assert see(table, tcp_syn(IN, 2000, PEER, 81), *words).result == 0  # other replies
    assert see(table, udp(IN, 2000, PEER, 80), *words).result == 0
    table.now += 241
    assert see(table, tcp_syn(IN, 2000, PEER, 80), *words).result == 0


def test_most_of_a_large_range_can_be_used(h: Harness) -> None:
    table = Table(h, 4000)
    words = snat(ports=(10000, 12999))
    results = [see(table, udp("10.0.1.1", 1 + n, PEER, 53), *words).result for n in range(2900)]
    assert results.count(0) >= 2890
    assert len({flow.tuples[1][3] for flow in table.flows()}) == results.count(0)


def test_replies_that_would_be_another_flow_s(table: Table) -> None:
    """By its own address and by the one that is forwarded: the second one gets another port."""
    assert see(table, udp(IN, 4000, SERVER, 80)).packet == udp(IN, 4000, SERVER, 80)
    looked = see(table, udp(IN, 4000, OUT, 80), *dnat())
    assert looked.result == 0
    outer = int.from_bytes(looked.packet[20:22], "big")
    assert outer != 4000
    assert looked.packet == udp(IN, outer, SERVER, 80)
    assert see(table, udp(SERVER, 80, IN, 4000)).packet == udp(SERVER, 80, IN, 4000)
    assert see(table, udp(SERVER, 80, IN, outer)).packet == udp(OUT, 80, IN, 4000)


def test_a_flow_that_is_not_translated_may_not_take_another_s_replies(table: Table) -> None:
    see(table, udp(IN, 4000, PEER, 80), *snat())
    outer = port_of(table)
    looked = see(table, udp(OUT, outer, PEER, 80))  # somebody with our own address
    assert looked.result == EADDRINUSE
    assert table.stats()["clashes"] == 1


def test_a_connection_again_gets_its_port_again(table: Table) -> None:
    see(table, tcp_syn(IN, 4000, PEER, 80), *snat())
    outer = port_of(table)
    see(table, fp.tcp(PEER, 80, OUT, outer, fp.RST | fp.ACK, ack=8))
    assert see(table, tcp_syn(IN, 4000, PEER, 80), *snat()).packet == tcp_syn(OUT, outer, PEER, 80)


@pytest.mark.parametrize(
    "words",
    [snat(ports=(9, 8)), snat(ports=(0, 8)), snat(bits=33), dnat(ports=(9, 8)), dnat(bits=33), dnat(ports=(0, 1))],
)
def test_what_cannot_be_translated_to(table: Table, words: list[object]) -> None:
    assert see(table, udp(IN, 1, PEER, 2), *words).result == EINVAL
    assert see(table, fp.udp("2001:db8::1", 1, "2001:db8::2", 2), *snat()).result == EINVAL
    assert table.flows() == []


# ---- ICMP errors ---------------------------------------------------------------------------------

MAKERS: dict[str, Maker] = {
    "tcp": tcp_syn,
    "udp": udp,
    "no checksum": udp_unsummed,
    "ping": lambda src, sport, dst, dport: fp.echo(src, dst, sport),
}


@pytest.mark.parametrize("room", [28, 48, 400])
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("who", [ROUTER, PEER])
def test_an_error_from_outside(table: Table, kind: str, room: int, who: str) -> None:
    """Who has sent the packet sees it as he has sent it."""
    make = MAKERS[kind]
    sent = see(table, make(IN, 4000, PEER, 80), *snat()).packet
    looked = see(table, fp.icmp_error(who, OUT, sent, room=room))
    assert looked.state == RELATED
    assert looked.packet == fp.icmp_error(who, IN, make(IN, 4000, PEER, 80), room=room)


@pytest.mark.parametrize("kind", ["tcp", "udp", "no checksum"])
@pytest.mark.parametrize("who", ["10.0.9.9", SERVER])
def test_an_error_from_inside(table: Table, kind: str, who: str) -> None:
    """About a packet to a forwarded port: neither the server's address nor that of a router inside is seen outside."""
    make = MAKERS[kind]
    sent = see(table, make(PEER, 4000, OUT, 80), *dnat(ports=(8080, 8080))).packet
    looked = see(table, fp.icmp_error(who, PEER, sent))
    assert (looked.state, looked.packet) == (RELATED, fp.icmp_error(OUT, PEER, make(PEER, 4000, OUT, 80)))


def test_an_error_about_a_reply(table: Table) -> None:
    see(table, udp(IN, 4000, PEER, 80), *snat())
    outer = port_of(table)
    reply = see(table, udp(PEER, 80, OUT, outer)).packet
    looked = see(table, fp.icmp_error("10.0.9.9", PEER, reply))
    assert (looked.state, looked.packet) == (RELATED, fp.icmp_error(OUT, PEER, udp(PEER, 80, OUT, outer)))


def test_an_error_through_both(table: Table) -> None:
    sent = see(table, udp(IN, 4000, OUT, 80), *dnat(ports=(8080, 8080)), *snat("10.0.0.1")).packet
    looked = see(table, fp.icmp_error(SERVER, "10.0.0.1", sent))
    assert looked.packet == fp.icmp_error(OUT, IN, udp(IN, 4000, OUT, 80))


# ---- fragments, partial checksums ----------------------------------------------------------------


def test_fragments(table: Table) -> None:
    whole = fp.udp(IN, 4000, PEER, 80, bytes(range(200)))
    parts = [see(table, part, *snat()).packet for part in fp.fragments(whole, 64, 64)]
    expected = fp.udp(OUT, port_of(table), PEER, 80, bytes(range(200)))
    assert parts == fp.fragments(expected, 64, 64)


def partial(packet: bytes) -> bytes:
    """As a card is given it that completes the checksum."""
    proto = packet[9]
    at = 20 + fp.CHECKSUM_AT[proto]
    src, dst = (str(IPv4Address(packet[i : i + 4])) for i in (12, 16))
    total = fp.ones_sum(fp.pseudo(src, dst, proto, len(packet) - 20))
    return packet[:at] + struct.pack(">H", total) + packet[at + 2 :]


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_checksums_that_a_card_completes(table: Table, kind: str) -> None:
    there, back = PAIRS[kind]
    looked = see(table, partial(there(IN, 4000, PEER, 80)), "partial", *snat())
    outer = port_of(table)
    assert looked.packet == partial(there(OUT, outer, PEER, 80))
    assert see(table, partial(back(PEER, 80, OUT, outer)), "partial").packet == partial(back(PEER, 80, IN, 4000))


@pytest.mark.parametrize("kind", PAIRS)
def test_as_it_came_in(table: Table, kind: str) -> None:
    """For an error about a packet that cannot go on: its sender knows no other one."""
    there, back = PAIRS[kind]
    packet = there(PEER, 4000, OUT, 80)
    assert see(table, packet, "look", *dnat(ports=(8080, 8080))).packet == there(PEER, 4000, SERVER, 8080)
    assert see(table, packet, "look", "restore", *dnat(ports=(8080, 8080))).packet == packet
    see(table, there(IN, 4000, PEER, 80), *snat())
    reply = back(PEER, 80, OUT, port_of(table))
    assert see(table, reply, "look").packet == back(PEER, 80, IN, 4000)
    assert see(table, reply, "look", "restore").packet == reply
    part = fp.fragments(packet, 8 if kind != "tcp" else 24)[0]
    assert see(table, part, "look", "restore", *dnat()).packet == part


def test_pings_as_they_came_in(table: Table) -> None:
    see(table, fp.echo(IN, PEER, 77), *snat())
    reply = fp.echo(PEER, OUT, table.only().tuples[1][1], reply=True)
    assert see(table, reply, "look", "restore").packet == reply


# ---- beside whole sums ---------------------------------------------------------------------------

ADDRESSES = st.integers(0x0B000000, 0xDFFFFFFF).map(lambda n: str(IPv4Address(n)))
PORTS = st.integers(1, 65535)


@given(
    st.sampled_from([*PAIRS, "ping"]),
    st.lists(ADDRESSES, min_size=4, max_size=4, unique=True),
    PORTS,
    PORTS,
    PORTS,
    PORTS,
)
@settings(deadline=None, max_examples=300)
def test_there_and_back(
    h: Harness, kind: str, hosts: list[str], sport: int, dport: int, outer: int, inner: int
) -> None:
    """Both ends translated, whatever the numbers; each checksum is the one of the whole packet."""
    table = Table(h)
    a, b, c, d = hosts
    words = [*dnat(c, ports=(inner, inner)), *snat(d, ports=(outer, outer))]
    if kind == "ping":
        there: Maker = MAKERS["ping"]
        assert see(table, there(a, sport, b, 0), *words).packet == there(d, outer, c, 0)
        back = fp.echo(c, d, outer, reply=True)
        assert see(table, back).packet == fp.echo(b, a, sport, reply=True)
        return
    there, answer = PAIRS[kind]
    assert see(table, there(a, sport, b, dport), *words).packet == there(d, outer, c, inner)
    assert see(table, answer(c, inner, d, outer)).packet == answer(b, dport, a, sport)
    error = fp.icmp_error(c, d, there(d, outer, c, inner), room=100)
    assert see(table, error).packet == fp.icmp_error(b, a, there(a, sport, b, dport), room=100)
    assert table.state(answer(c, inner, d, outer ^ 1)) in (NEW, INVALID)
