# SPDX-License-Identifier: MIT
"""modules/packet/packetfrag.c: later fragments follow the first one, and no byte passes twice."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.packet import flowpackets as fp
from tests.c.packet.flowtable import ESTABLISHED, INVALID, NEW, REPLY, Table
from tests.c.support.harness import Harness

ENDS = [("10.0.0.1", "192.0.2.7"), ("2001:db8::1", "2001:db8:1::2")]
A, B = ENDS[0]


def later(at: int, size: int, *, more: bool, ident: int = 7) -> bytes:
    return fp.ip4(A, B, fp.UDP, b"y" * size, id=ident, place=at // 8 | more << 13)


@pytest.mark.parametrize(("a", "b"), ENDS)
def test_they_follow(table: Table, a: str, b: str) -> None:
    parts = fp.fragments(fp.udp(a, 1, b, 2, bytes(100)), 24, 32, 32)
    assert table.state(parts[1]) == INVALID  # it came before its first one
    first = table.see(parts[0])
    assert first is not None and first.state == NEW
    for part in (parts[2], parts[1]):
        looked = table.see(part)
        assert looked is not None
        assert (looked.state, looked.flow, looked.how) == (ESTABLISHED, first.flow, "f")
    assert table.state(fp.fragments(fp.udp(a, 1, b, 2, bytes(100)), 24, 32, 32, ident=8)[1]) == INVALID
    assert table.state(parts[3]) == ESTABLISHED
    assert table.only().packets == (4, 0)
    assert table.state(parts[3]) == INVALID  # all was there
    back = fp.fragments(fp.udp(b, 2, a, 1, bytes(50)), 16)
    assert table.state(back[0]) == ESTABLISHED
    looked = table.see(back[1])
    assert looked is not None and (looked.state, looked.dir) == (ESTABLISHED, REPLY)
    assert table.stats()["fragments_lost"] == 3


def test_a_dropped_first_one_lets_none_follow(table: Table) -> None:
    parts = fp.fragments(fp.udp(A, 1, B, 2, bytes(100)), 24)
    table.see(parts[0], only_look=True)
    assert table.state(parts[1]) == INVALID


def test_time_and_numbers_that_come_round(table: Table) -> None:
    parts = fp.fragments(fp.udp(A, 1, B, 2, bytes(100)), 24)
    assert table.state(parts[0]) == NEW
    table.now += 14.9
    assert table.see(parts[1], only_look=True) is not None
    table.now += 0.2
    assert table.state(parts[1]) == INVALID
    assert table.state(parts[0]) == NEW
    table.now += 1.9
    assert table.state(parts[0]) == INVALID  # it is there twice
    table.now += 0.2
    assert table.state(parts[0]) == NEW  # that is another datagram's
    assert table.state(parts[1]) == ESTABLISHED


def test_a_flow_that_is_gone_takes_its_fragments_along(table: Table) -> None:
    parts = fp.fragments(fp.udp(A, 1, B, 2, bytes(100)), 24)
    table.state(parts[0])
    assert table.h.number("delete", 0, 0, "-", 0, "-", 0, 0, 0, 100) == 1
    table.state(fp.udp(A, 5, B, 6))  # which has its place
    assert table.state(parts[1]) == INVALID


@pytest.mark.parametrize(
    ("at", "size", "more", "breaks"),
    [
        (8, 8, True, False),
        (24, 8, True, False),
        (48, 24, True, False),
        (64, 8, True, False),
        (0, 24, True, False),
        (16, 24, True, True),
        (40, 16, True, True),
        (40, 8, False, True),
        (64, 8, False, True),
        (8, 99, False, True),
    ],
)
def test_overlaps(table: Table, at: int, size: int, more: bool, breaks: bool) -> None:
    """What was seen is not passed on again; what overlaps with that ends the datagram (RFC 5722)."""
    table.state(fp.fragments(fp.udp(A, 1, B, 2, bytes(100)), 32)[0])
    assert table.state(later(48, 24, more=True)) == ESTABLISHED
    assert table.state(later(at, size, more=more)) == INVALID
    assert table.state(later(32, 16, more=True)) == (INVALID if breaks else ESTABLISHED)
    assert table.state(later(72, 1, more=False)) == (INVALID if breaks else ESTABLISHED)
    whole = fp.fragments(fp.udp(A, 1, B, 2, bytes(100)), 56, ident=8)  # another datagram of the flow
    assert [table.state(part) for part in whole] == [NEW, ESTABLISHED]


@pytest.mark.parametrize(
    "packet",
    [
        later(32, 0, more=True), later(32, 7, more=True),
        fp.ip6(*ENDS[1], 44, struct.pack(">BBHI", 17, 0, 33, 7)), fp.ip6(*ENDS[1], 44, struct.pack(">BBHI", 17, 0, 33, 7) + b"1"),
        fp.ip6(*ENDS[1], 44, struct.pack(">BBHI", 17, 0, 65528, 7) + bytes(8)),
        fp.ip6(*ENDS[1], 44, struct.pack(">BBHI", 17, 0, 32, 7)[:7]),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be(table: Table, packet: bytes) -> None:
    table.state(fp.fragments(fp.udp(A, 1, B, 2, bytes(100)), 32)[0])
    table.state(fp.fragments(fp.udp(*[x for e in zip(ENDS[1], (1, 2), strict=True) for x in e], bytes(100)), 32)[0])
    assert table.see(packet) is None or table.state(packet) == INVALID


@pytest.mark.parametrize("size", [8, 16])
def test_a_first_one_without_its_header(table: Table, size: int) -> None:
    """RFC 1858: what the rules ask for must be in it."""
    assert table.state(fp.fragments(fp.tcp(A, 1, B, 2, fp.SYN, size=40), size)[0]) == INVALID
    assert table.flows() == []


def test_more_datagrams_than_the_table_has(h: Harness) -> None:
    table = Table(h, 2000)
    for ident in range(1000):
        table.state(fp.fragments(fp.udp(A, 1, B, 2, bytes(100)), 32, ident=ident)[0])
        table.now += 0.001
    lately = sum(table.state(later(32, 8, more=True, ident=ident)) == ESTABLISHED for ident in range(936, 1000))
    long_ago = sum(table.state(later(32, 8, more=True, ident=ident)) == ESTABLISHED for ident in range(500))
    assert lately > 40
    assert long_ago < 60


def test_tcp_in_fragments(table: Table) -> None:
    """How long a segment is its first fragment does not say; an acknowledgement of all of it is no lie."""
    assert table.state(fp.tcp(A, 1, B, 2, fp.SYN, seq=0)) == NEW
    assert table.state(fp.tcp(B, 2, A, 1, fp.SYN | fp.ACK, seq=0, ack=1)) == ESTABLISHED
    parts = fp.fragments(fp.tcp(A, 1, B, 2, fp.ACK, seq=1, ack=1, size=3000), 1480)
    assert [table.state(part) for part in parts] == [ESTABLISHED] * 2
    assert table.state(fp.tcp(B, 2, A, 1, fp.ACK, seq=1, ack=3001)) == ESTABLISHED


@given(st.lists(st.tuples(st.integers(0, 24), st.integers(1, 6), st.booleans()), max_size=24))
@settings(deadline=None, max_examples=200)
def test_no_byte_passes_twice(h: Harness, pieces: list[tuple[int, int, bool]]) -> None:
    table = Table(h)
    table.state(fp.fragments(fp.udp(A, 1, B, 2, bytes(1000)), 32)[0])
    seen, end = set(range(32)), None
    for at, size, more in pieces:
        at, size = at * 8, size * 8
        own = set(range(at, at + size))
        if table.state(later(at, size, more=more)) == INVALID or at == 0:
            continue
        assert not own & seen
        assert end is None or (more and max(own) < end)
        seen |= own
        if not more:
            assert max(seen) == max(own)
            end = at + size
        if end is not None and seen == set(range(end)):
            return
