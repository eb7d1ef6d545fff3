# SPDX-License-Identifier: MIT
"""modules/packet/packetflow.c and packettable.c: flows of UDP, ICMP and others beside a model in Python; time; a full
table. TCP's windows and fragments have files of their own."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.packet import flowpackets as fp
from tests.c.packet.flowtable import (
    ESTABLISHED,
    FORWARD,
    INVALID,
    NEW,
    RELATED,
    REPLY,
    UNTRACKED,
    Table,
)
from tests.c.support.harness import ENOSPC, Harness

A, B, C = "10.0.0.1", "192.0.2.7", "198.51.100.9"
A6, B6 = "2001:db8::1", "2001:db8:1::2"
GRE = 47
TICK = 1.1  # seconds that a flow may keep its place when it is over
# Seconds: RFC 4787 (UDP), RFC 5508 (ICMP) have the least values of those that they name.
LIFE = {"udp_one": 120, "udp": 300, "icmp": 60, "other_one": 120, "other": 600}


def test_memory(h: Harness) -> None:
    """What the engine promises: 65,536 flows in 16 MiB, 10,000 in 8 MiB with all the rest of a small VM."""
    assert Table(h, 65536).bytes <= 16 << 20
    assert Table(h, 10000).bytes <= 2560 << 10
    assert h.number("init", 0, 1, 2) == 0
    assert h.number("init", (1 << 20) + 1, 1, 2) == 0


def test_udp(table: Table) -> None:
    there, back = fp.udp(A, 1000, B, 53), fp.udp(B, 53, A, 1000)
    assert table.state(back) == NEW  # nobody asked; and that is a flow of its own
    table = Table(table.h)
    assert (table.state(there), table.state(there)) == (NEW, NEW)
    assert table.stats()["young"] == 1
    looked = table.see(back)
    assert looked is not None and (looked.state, looked.dir) == (ESTABLISHED, REPLY)
    looked = table.see(there)
    assert looked is not None and (looked.state, looked.dir) == (ESTABLISHED, FORWARD)
    flow = table.only()
    assert flow.tuples == ((A, 1000, B, 53), (B, 53, A, 1000))
    assert (flow.packets, flow.bytes, flow.replied) == ((3, 1), (96, 32), True)
    assert table.stats()["young"] == 0


@pytest.mark.parametrize(("a", "b"), [(A, B), (A6, B6)])
def test_icmp_queries(table: Table, a: str, b: str) -> None:
    assert table.state(fp.echo(b, a, 9, reply=True)) == INVALID
    assert table.state(fp.echo(a, b, 9)) == NEW
    assert table.state(fp.echo(b, a, 8, reply=True)) == INVALID
    assert table.state(fp.echo(b, a, 9)) == NEW  # the other end asks with the same identifier
    assert table.state(fp.echo(b, a, 9, reply=True)) == ESTABLISHED
    assert table.state(fp.echo(a, b, 9, reply=True)) == ESTABLISHED
    assert [(flow.packets, flow.life) for flow in table.flows()] == [((1, 1), "icmp")] * 2


def test_icmp_timestamps(table: Table) -> None:
    def stamp(src: str, dst: str, kind: int) -> bytes:
        return fp.ip(src, dst, fp.ICMP, bytes([kind, 0, 0, 0, 0, 5, 0, 0]) + bytes(12))

    assert table.state(stamp(B, A, 14)) == INVALID
    assert table.state(stamp(A, B, 13)) == NEW
    assert table.state(stamp(B, A, 14)) == ESTABLISHED


@pytest.mark.parametrize("proto", [GRE, 50, 132, 0xFF])
def test_others(table: Table, proto: int) -> None:
    assert table.state(fp.ip(A, B, proto, b"")) == NEW
    assert table.state(fp.ip(B, A, proto, b"12345678")) == ESTABLISHED
    assert table.state(fp.ip(B, C, proto, b"12345678")) == NEW
    assert len(table.flows()) == 2


@pytest.mark.parametrize("kind", [130, 131, 132, 133, 134, 135, 136, 137, 143])
def test_neighbours_are_nobody_s_flow(table: Table, kind: int) -> None:
    assert table.state(fp.ip(A6, B6, fp.ICMP6, bytes([kind]) + bytes(23))) == UNTRACKED
    assert table.flows() == []


@pytest.mark.parametrize(
    "packet",
    [
        fp.ip(A, B, fp.ICMP, bytes([5, 0, 0, 0]) + bytes(4)),  # a redirect
        fp.ip(A, B, fp.ICMP, bytes([99, 0, 0, 0]) + bytes(4)),
        fp.ip(A6, B6, fp.ICMP6, bytes([0, 0, 0, 0]) + bytes(4)),
        fp.ip(A, B, fp.ICMP, bytes(7)[:7]),
        fp.ip4(A, B, fp.UDP, bytes(7)),
        fp.ip4(A, B, fp.UDP, bytes([0, 1, 0, 2, 0, 7, 0, 0])),
        fp.ip4(A, B, fp.UDP, bytes([0, 1, 0, 2, 0, 9, 0, 0])),
        fp.udp(A, 5, A, 6),
        fp.ip(A, A, GRE, b"x"),
        fp.ip6(A6, B6, 60, b"\x11\0\0"),  # options that are cut short
        fp.ip6(A6, B6, 0, b"\x11\x05" + bytes(14)),
    ],
)
def test_what_is_no_packet_of_a_flow(table: Table, packet: bytes) -> None:
    assert table.state(packet) == INVALID
    assert table.flows() == []
    assert table.stats()["invalid"] == 1


@pytest.mark.parametrize(("a", "b", "kinds"), [(A, B, (3, 11, 12)), (A6, B6, (1, 2, 3, 4))])
def test_errors_belong_to_what_they_quote(table: Table, a: str, b: str, kinds: tuple[int, ...]) -> None:
    router = "10.9.9.9" if a == A else "fe80::9"
    sent = fp.udp(a, 1000, b, 53)
    error = fp.icmp_error(router, a, sent)
    assert table.state(error) == INVALID
    table.state(sent)
    expires = table.only().expires_ns
    table.now += 10
    for kind in kinds:
        looked = table.see(fp.icmp_error(router, a, sent, kind=kind))
        assert looked is not None and (looked.state, looked.dir) == (RELATED, REPLY)
    assert table.only().expires_ns == expires  # RFC 5508, REQ-9: an error keeps nothing alive
    back = fp.udp(b, 53, a, 1000)
    table.state(back)
    looked = table.see(fp.icmp_error(a, b, back))
    assert looked is not None and (looked.state, looked.dir) == (RELATED, FORWARD)
    table.state(fp.echo(a, b, 5))
    assert table.state(fp.icmp_error(router, a, fp.echo(a, b, 5))) == RELATED
    for wrong in (
        fp.icmp_error(router, b, sent),  # not to the one who has sent it
        fp.icmp_error(router, a, fp.udp(a, 1001, b, 53)),
        fp.icmp_error(router, a, sent, room=27),  # the ports are not there
        fp.icmp_error(router, a, fp.icmp_error(a, b, back)),
        fp.icmp_error(router, a, b"\x55" + sent[1:]),
    ):
        assert table.state(wrong) == INVALID


def test_an_error_about_tcp_quotes_what_was_sent(table: Table) -> None:
    table.state(fp.tcp(A, 1000, B, 80, fp.SYN, seq=5000))
    assert table.state(fp.icmp_error(C, A, fp.tcp(A, 1000, B, 80, fp.SYN, seq=5000))) == RELATED
    assert table.state(fp.icmp_error(C, A, fp.tcp(A, 1000, B, 80, fp.SYN, seq=5002))) == INVALID
    assert table.state(fp.icmp_error(C, A, fp.tcp(A, 1000, B, 80, fp.SYN, seq=2**31))) == INVALID


def test_a_dropped_packet_leaves_no_trace(table: Table) -> None:
    packet = fp.udp(A, 1, B, 2)
    looked = table.see(packet, only_look=True)
    assert looked is not None and (looked.state, looked.flow) == (NEW, 0)
    assert table.flows() == []
    table.state(packet)
    before = table.flows()
    table.now += 5
    table.see(fp.udp(B, 2, A, 1), only_look=True)
    assert table.flows() == before


def test_time(table: Table) -> None:
    packet = fp.udp(A, 1, B, 2)
    first = table.see(packet)
    table.now += 119.9
    second = table.see(packet)
    table.now += 120
    third = table.see(packet)
    assert first is not None and second is not None and third is not None
    assert first.flow == second.flow != third.flow  # over, though nobody has looked for it
    assert table.stats()["expired"] == 1
    table.now -= 500  # a clock that goes back stands still
    assert table.state(packet) == NEW
    table.now += 500 + 119
    table.age()
    assert len(table.flows()) == 1
    table.now += 2
    table.age()
    assert table.stats()["flows"] == 0
    table.now += 10**6
    table.age(work=600)
    assert table.state(packet) == NEW


def test_ageing_does_what_it_is_allowed_to(h: Harness) -> None:
    table = Table(h, 2000)
    for port in range(1, 1001):
        table.state(fp.udp(A, port, B, 2))
    table.now += 1000
    table.age(100)
    assert table.stats()["flows"] >= 900
    for _ in range(20):
        table.age(100)
    assert table.stats()["flows"] == 0


def test_lives_can_be_set(table: Table) -> None:
    assert table.h.number("life", 5, 7) == 1
    assert table.h.number("life", 5, 0) == table.h.number("life", 10, 7) == 0
    table.state(fp.udp(A, 1, B, 2))
    table.now += 7
    table.age()
    assert table.flows() == []


def fill(table: Table, count: int, *, answered: bool) -> None:
    for port in range(1, count + 1):
        assert table.state(fp.udp(A, port, B, 2)) == NEW
        if answered:
            assert table.state(fp.udp(B, 2, A, port)) == ESTABLISHED


def test_a_full_table_refuses_and_serves(h: Harness) -> None:
    table = Table(h, 100)
    fill(table, 100, answered=True)
    table.now += 60
    looked = table.see(fp.udp(C, 1, B, 2))
    assert looked is not None and (looked.state, looked.result) == (NEW, ENOSPC)
    for port in range(1, 101):
        assert table.state(fp.udp(A, port, B, 2)) == ESTABLISHED
    stats = table.stats()
    assert (stats["refused"], stats["evicted"], stats["flows"]) == (1, 0, 100)


def test_old_flows_without_an_answer_give_way(h: Harness) -> None:
    table = Table(h, 100)
    fill(table, 50, answered=True)
    for port in range(51, 101):
        table.state(fp.udp(A, port, B, 2))
        table.now += 0.01
    looked = table.see(fp.udp(C, 1, B, 2))
    assert looked is not None and looked.result == ENOSPC  # all are young
    table.now += 1.6
    for port in range(1, 11):
        looked = table.see(fp.udp(C, port, B, 2))
        assert looked is not None and looked.result == 0
    left = {flow.tuples[0][1] for flow in table.flows() if flow.tuples[0][0] == A}
    assert left == set(range(1, 51)) | set(range(61, 101))  # the oldest ones went
    assert table.stats()["evicted"] == 10


def test_twenty_thousand_half_open(h: Harness) -> None:
    """A flood that fits is held; the open connections beside it go on; and when it has stopped, it is forgotten."""
    table = Table(h, 65536)
    fill(table, 100, answered=True)
    for number in range(20000):
        assert (
            table.state(fp.tcp(f"10.1.{number >> 8}.{number & 255}", 1024 + number, B, 80, fp.SYN, seq=number)) == NEW
        )
        table.now += 0.001
    assert table.stats()["young"] == 20000
    for port in range(1, 101):
        assert table.state(fp.udp(A, port, B, 2)) == ESTABLISHED
    assert table.state(fp.udp(C, 1, B, 2)) == NEW
    table.now += 241
    table.age()
    assert {flow.proto for flow in table.flows()} == {fp.UDP}
    assert table.stats()["refused"] == 0


@pytest.mark.parametrize("step", [1, 256, 512, 4096, 65536])
def test_chosen_tuples_do_not_share_a_chain(h: Harness, step: int) -> None:
    """Whatever pattern they follow, as their sender does not know the seed."""
    table = Table(h, 5000)
    for number in range(5000):
        src = str(ip_address(0x0A000000 + number * step % 2**24))
        table.state(fp.udp(src, 1 + (number * step >> 24), B, 2))
    assert table.stats()["longest"] <= 12
    assert table.stats()["flows"] == 5000


def test_delete(table: Table) -> None:
    for src in (A, "10.0.0.2", "10.0.1.1", C):
        for port in (53, 80):
            table.state(fp.udp(src, 1000, B, port))
    table.state(fp.echo(A, B, 1))

    def delete(*what: object) -> int:
        return table.h.number("delete", *what, 3)

    assert delete(4, fp.UDP, "0a000000", 24, "-", 0, 0, 80) == 2
    assert delete(6, 0, "-", 0, "-", 0, 0, 0) == 0
    assert delete(0, 0, "0a000200", 23, "-", 0, 0, 53) == 0
    assert delete(0, 0, "0a000000", 23, "-", 0, 0, 53) == 3
    assert delete(0, 0, "-", 0, "c0000207", 32, 1000, 0) == 3
    assert {flow.proto for flow in table.flows()} == {fp.ICMP}
    assert delete(0, 0, "-", 0, "-", 0, 0, 0) == 1
    assert table.flows() == []
    assert table.stats()["deleted"] == 9


def test_another_seed(h: Harness) -> None:
    """Flows are found again, can be ended, and their places used."""
    table = Table(h, 300)
    fill(table, 200, answered=True)
    h.do("delete", 0, 0, "-", 0, "-", 0, 7, 0, 1000)
    parts = fp.fragments(fp.udp(A, 1, B, 2, bytes(40)), 24)
    table.state(parts[0])
    h.do("reseed", 77, 78)
    assert table.state(parts[1]) == INVALID
    for port in range(1, 201):
        assert table.state(fp.udp(B, 2, A, port)) == (NEW if port == 7 else ESTABLISHED)
    table.now += 1000
    table.age()
    assert table.stats()["flows"] == 0
    fill(table, 300, answered=False)


def test_a_listing_takes_steps(table: Table) -> None:
    fill(table, 64, answered=False)
    assert len(table.flows(work=1)) == len(table.flows(work=7)) == len(table.flows(work=1000)) == 64


# ---- beside a model ------------------------------------------------------------------------------

Tuple = tuple[int, str, int, str, int]


@dataclass
class Known:
    there: Tuple
    back: Tuple
    kind: str
    started: float
    replied: bool = False
    packets: list[int] = field(default_factory=lambda: [0, 0])
    expires: float = 0.0


class Model:
    """What the table is to do, said plainly. The room is as large as the table's."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.flows: list[Known] = []
        self.over: list[float] = []  # when flows were

    def see(self, now: float, there: Tuple, *, query: bool, asks: bool, kind: str) -> tuple[int, int]:
        self.over += [flow.expires for flow in self.flows if flow.expires <= now]
        self.flows = [flow for flow in self.flows if flow.expires > now]
        proto, src, sport, dst, dport = there
        back = (proto, dst, sport, src, dport) if query else (proto, dst, dport, src, sport)
        for flow in self.flows:
            forward = flow.there == there and (not query or asks)
            if forward or (flow.back == there and (not query or not asks)):
                flow.replied |= not forward
                flow.packets[0 if forward else 1] += 1
                flow.expires = now + LIFE[kind if flow.replied or query else f"{kind}_one"]
                return (ESTABLISHED if flow.replied else NEW), 0
        if src == dst or (query and not asks):
            return INVALID, 0
        if len(self.flows) == self.room:
            victims = [flow for flow in self.flows if not flow.replied]
            if not victims or now - victims[0].started < 2:
                return NEW, ENOSPC
            self.flows.remove(victims[0])
        life = LIFE[kind if query else f"{kind}_one"]
        self.flows.append(Known(there, back, kind, now, packets=[1, 0], expires=now + life))
        return NEW, 0


HOSTS = st.sampled_from([A, B, C, A6, B6])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["udp", "udp", "icmp", "other"]),
        HOSTS,
        HOSTS,
        st.integers(1, 2),
        st.integers(1, 2),
        st.booleans(),
        st.sampled_from([0, 0, 0, 0.5, 3, 59, 61, 119, 121, 299, 301, 601, 10**5]),
        st.sampled_from([0, 0, 1, 5, 1000]),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 12))
@settings(deadline=None, max_examples=300)
def test_beside_the_model(h: Harness, steps: list[tuple[str, str, str, int, int, bool, float, int]], room: int) -> None:
    table, model = Table(h, room), Model(room)
    for kind, src, dst, sport, dport, asks, wait, work in steps:
        if (":" in src) != (":" in dst):
            continue
        table.now += wait
        if work:
            table.age(work)
        if kind == "udp":
            packet, there = fp.udp(src, sport, dst, dport), (fp.UDP, src, sport, dst, dport)
        elif kind == "icmp":
            proto = fp.ICMP6 if ":" in src else fp.ICMP
            packet, there = fp.echo(src, dst, sport, reply=not asks), (proto, src, sport, dst, 0)
        else:
            packet, there = fp.ip(src, dst, GRE, b"12345678"), (GRE, src, 0, dst, 0)
        expected = model.see(table.now, there, query=kind == "icmp", asks=asks, kind=kind)
        looked = table.see(packet)
        assert looked is not None
        if looked.result == ENOSPC and any(table.now - TICK <= over for over in model.over):
            return  # what was over a moment ago may still have its place
        assert (looked.state, looked.result) == expected
    found = [
        ((*flow.tuples[0][:3], flow.tuples[0][3] * (flow.proto == fp.UDP)), flow.packets, flow.replied)
        for flow in table.flows()
    ]
    table.age()
    assert sorted(found) == sorted((known.there[1:], tuple(known.packets), known.replied) for known in model.flows)


NAT_WORDS = ["dnat", 0x0A000050, 0, 80, 81, 0, "snat", 0xCB007101, 0, 0, 0, 0]


def test_chance(h: Harness) -> None:
    """Bytes of packets changed, cut, lengthened: whatever it is, nothing is read or written where it must not be."""
    rng = random.Random(13)
    table = Table(h, 50)
    seeds = [
        fp.udp(A, 1, B, 2), fp.udp(A6, 1, B6, 2), fp.echo(A, B, 1), fp.echo(A6, B6, 1), fp.tcp(A, 1, B, 2, fp.SYN, scale=7),
        fp.tcp(B, 2, A, 1, fp.SYN | fp.ACK, ack=1, scale=3), fp.tcp(A, 1, B, 2, fp.ACK, seq=1, ack=1, size=9),
        fp.icmp_error(C, A, fp.udp(A, 1, B, 2)), fp.icmp_error(C, A, fp.tcp(A, 1, B, 2, fp.SYN)),
        fp.icmp_error(B6, A6, fp.udp(A6, 1, B6, 2)), *fp.fragments(fp.udp(A, 1, B, 2, bytes(40)), 16, 16),
        *fp.fragments(fp.udp(A6, 1, B6, 2, bytes(40)), 16, 16),
    ]  # fmt: skip
    for _ in range(20000):
        packet = bytearray(rng.choice(seeds))
        for _ in range(rng.choice([0, 1, 1, 2, 5])):
            at = rng.randrange(len(packet))
            packet[at] = rng.choice([0, 1, 0xFF, rng.randrange(256), packet[at] ^ 1 << rng.randrange(8)])
        if rng.random() < 0.3:
            packet = packet[: rng.randrange(1, len(packet) + 1)]
        if packet[0] >> 4 == 4 and len(packet) >= 20 and rng.random() < 0.9:  # a header that the parser takes
            header = (packet[0] & 15) * 4
            packet[2:4] = len(packet).to_bytes(2, "big")
            packet[10:12] = bytes(2)
            packet[10:12] = (0xFFFF - fp.ones_sum(bytes(packet[:header]))).to_bytes(2, "big")
        elif packet[0] >> 4 == 6 and len(packet) >= 40 and rng.random() < 0.9:
            packet[4:6] = (len(packet) - 40).to_bytes(2, "big")
        words = rng.choice([[], [], ["partial"], NAT_WORDS[:6], NAT_WORDS[6:], NAT_WORDS])
        looked = table.see(bytes(packet), *words)
        assert looked is None or looked.state in (NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED)
        table.now += rng.choice([0, 0.01, 1])
        if rng.random() < 0.1:
            table.age(10)
    stats = table.stats()
    assert stats["made"] > 100 and stats["invalid"] > 100
