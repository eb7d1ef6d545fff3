# SPDX-License-Identifier: MIT
"""modules/packet/packethold.c in the pipeline: fragments that come before their first one wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import Ether

from tests.c.packet import flowpackets as fp
from tests.c.packet.packetwords import INSIDE, OUTSIDE, TX_CSUM, Engine, mac
from tests.c.support.harness import Harness
from tests.packet import language

say = language.rules
ENDS = {4: ("10.0.0.2", "10.1.0.2"), 6: ("2001:db8:0::2", "2001:db8:1::2")}
OWN = {4: "10.0.0.1", 6: "2001:db8::1"}
TYPES = {4: 0x0800, 6: 0x86DD}
MOST, COPIES, LIFE_S = 32, 40, 2
DATA = bytes(n % 251 for n in range(400))


def rules(engine: Engine, **more: object) -> None:
    """DNS may go from inside to outside and to this machine, and nothing else; answers come back."""
    known = say.rule(state=["established", "related"]) >> say.accept
    question = say.rule(in_=0, proto="udp", dport=53, state="new") >> say.accept
    chains = {
        "forward": say.Chain("forward", policy=say.drop, rules=[known, question]),
        "input": say.Chain("input", policy=say.drop, rules=[known, question]),
    }
    engine.rules(**{**chains, **more})


@pytest.fixture(scope="module")
def harness(engine_program: Path) -> Iterator[Harness]:
    with Harness(engine_program) as harness:
        e = Engine(harness)
        e.know_hosts()
        yield harness


@pytest.fixture
def engine(harness: Harness) -> Iterator[Engine]:
    """10.0.0.2 is inside, 10.1.0.2 outside. At the end all copies are there again."""
    e = Engine(harness)
    e.track()
    rules(e)
    yield e
    e.run(LIFE_S)
    harness.do("age")
    assert e.left() == 0
    assert harness.number("copies") == COPIES


def comes(engine: Engine, card: int, packet: bytes) -> list[bytes]:
    """IP packets that leave, or come in, when this one has come."""
    version = packet[0] >> 4
    frame = Ether(dst=mac(card), src=INSIDE if card == 0 else OUTSIDE, type=TYPES[version]) / packet
    found = engine.receive(card, frame)
    assert not (found.sent and found.late)
    engine.left()
    return [s.data[14:] for s in found.sent] + [data[14:] for data in found.late]


def datagram(version: int, *, sport: int = 1000, dport: int = 53) -> bytes:
    a, b = ENDS[version]
    return fp.udp(a, sport, b, dport, DATA)


def aged(packet: bytes) -> bytes:
    """After one hop."""
    if packet[0] >> 4 == 6:
        return packet[:7] + bytes([packet[7] - 1]) + packet[8:]
    head = packet[:8] + bytes([packet[8] - 1]) + packet[9:10] + b"\0\0" + packet[12:20]
    return head[:10] + (0xFFFF - fp.ones_sum(head)).to_bytes(2, "big") + head[12:] + packet[20:]


@pytest.mark.parametrize("version", [4, 6])
def test_they_wait_for_the_first_one(engine: Engine, version: int) -> None:
    parts = fp.fragments(datagram(version), 104, 104, 104)
    held = engine.count("held")
    for part in reversed(parts[1:]):
        assert comes(engine, 0, part) == []
    assert comes(engine, 0, parts[0]) == [aged(part) for part in (parts[0], *reversed(parts[1:]))]
    assert engine.count("held") == held + 3
    again = fp.fragments(datagram(version), 104, 104, ident=8)  # the flow is known
    assert [len(comes(engine, 0, again[n])) for n in (1, 0, 2)] == [0, 2, 1]


@pytest.mark.parametrize("version", [4, 6])
def test_bytes_that_come_twice_pass_by_no_rule(engine: Engine, version: int) -> None:
    """Not even one that asks for nothing: another than was judged could be put together behind this."""
    rules(engine, forward=say.Chain("forward", policy=say.accept))
    one, two, three = fp.fragments(datagram(version), 104, 104)
    lost = engine.count("filtered")
    assert [len(comes(engine, 0, part)) for part in (one, one, two, two)] == [1, 0, 1, 0]
    overlaps = fp.fragments(datagram(version), 96, 120)[1]
    assert [len(comes(engine, 0, part)) for part in (overlaps, three)] == [0, 0]
    assert engine.count("filtered") == lost + 4


def test_addresses_are_translated(engine: Engine) -> None:
    rules(engine, postrouting=[say.rule(out=1) >> say.masquerade])
    one, two, three = fp.fragments(datagram(4), 104, 104)
    assert comes(engine, 0, three) + comes(engine, 0, two) == []
    sent = comes(engine, 0, one)
    assert [packet[12:16] for packet in sent] == [bytes((10, 1, 0, 1))] * 3
    port = int.from_bytes(sent[0][20:22], "big")
    one, two, three = fp.fragments(fp.udp("10.1.0.2", 53, "10.1.0.1", port, DATA), 104, 104)
    assert comes(engine, 1, three) + comes(engine, 1, two) == []
    whole = fp.fragments(fp.udp("10.1.0.2", 53, "10.0.0.2", 1000, DATA), 104, 104)
    assert comes(engine, 1, one) == [aged(whole[n]) for n in (0, 2, 1)]


def test_a_forwarded_port(engine: Engine) -> None:
    to = say.rule(in_=1, proto="udp", dport=5353) >> say.dnat("10.0.0.2", 53)
    rules(engine, prerouting=[to], forward=[])
    one, two = fp.fragments(fp.udp("10.1.0.2", 7, "10.1.0.1", 5353, DATA), 104)
    assert comes(engine, 1, two) == []
    whole = fp.fragments(fp.udp("10.1.0.2", 7, "10.0.0.2", 53, DATA), 104)
    assert comes(engine, 1, one) == [aged(part) for part in whole]


@pytest.mark.parametrize("version", [4, 6])
def test_for_this_machine(engine: Engine, version: int) -> None:
    one, two, three = fp.fragments(fp.udp(ENDS[version][0], 9, OWN[version], 53, DATA), 104, 104)
    assert comes(engine, 0, three) + comes(engine, 0, two) == []
    assert comes(engine, 0, one) == [three, two]  # the first one is the caller's as ever
    one, two = fp.fragments(fp.udp(ENDS[version][0], 9, OWN[version], 54, DATA), 104, ident=9)
    assert comes(engine, 0, two) + comes(engine, 0, one) == []


@pytest.mark.parametrize("version", [4, 6])
def test_what_may_not_pass(engine: Engine, version: int) -> None:
    """A first one that is dropped lets none pass, nor do those that waited for too long."""
    parts = fp.fragments(datagram(version, dport=54), 104, 104)
    assert [comes(engine, 0, part) for part in reversed(parts)] == [[]] * 3
    lost = engine.count("held_lost")
    one, two = fp.fragments(datagram(version), 104, ident=8)
    assert comes(engine, 0, two) == []
    engine.run(LIFE_S)
    assert comes(engine, 0, one) == [aged(one)]
    assert engine.count("held_lost") == lost + 3


def test_rules_of_prerouting_are_asked_before(engine: Engine) -> None:
    """Who says to be from elsewhere takes no room."""
    rules(engine, prerouting=[say.rule(in_=0, src=say.not_("10.0.0.0/16")) >> say.drop])
    held = engine.count("held")
    assert comes(engine, 0, fp.fragments(fp.udp("10.2.0.2", 7, "10.1.0.2", 53, DATA), 104)[1]) == []
    assert engine.count("held") == held


def test_without_rules_nothing_waits(engine: Engine) -> None:
    engine.rules()
    one, two = fp.fragments(datagram(4), 104)
    assert comes(engine, 0, two) == [aged(two)]
    assert comes(engine, 0, one) == [aged(one)]


def test_no_room(engine: Engine) -> None:
    """Of one datagram no more wait than there are places; a frame that is too long for a place does not."""
    lost = engine.count("held_lost")
    parts = fp.fragments(fp.udp(*_between(7, 53), bytes(8 * 60)), *[8] * 60)
    assert all(comes(engine, 0, part) == [] for part in parts[1:])
    assert engine.count("held_lost") == lost + 60 - MOST
    assert comes(engine, 0, parts[0]) == [aged(part) for part in (parts[0], *parts[-MOST:])]
    engine.card(1, mtu=9000)
    one, two = fp.fragments(fp.udp(*_between(8, 53), bytes(4000)), 2000, ident=8)
    assert comes(engine, 0, two) == []
    assert comes(engine, 0, one) == [aged(one)]
    engine.card(1)


def test_a_link_that_is_narrower(engine: Engine) -> None:
    """A copy may be cut, too, and is there until its pieces have left."""
    engine.card(1, mtu=100, features=TX_CSUM)
    one, two, three = fp.fragments(datagram(4), 104, 104)
    assert comes(engine, 0, three) + comes(engine, 0, two) == []
    assert len(comes(engine, 0, one)) > 6
    engine.card(1)


def _between(sport: int, dport: int, source: str = "10.0.0.2") -> tuple[str, int, str, int]:
    return source, sport, "10.1.0.2", dport


@pytest.mark.parametrize(
    "liars",
    [
        ["10.0.0.9"],
        [f"10.0.{n}.9" for n in range(1, 12)],
        [f"2001:db8::{n}:9" for n in range(1, 500)],
    ],
    ids=["one", "some", "one of IPv6"],
)  # fmt: skip
def test_a_flood_pushes_out_no_others(engine: Engine, liars: list[str]) -> None:
    """Of the same link, as long as it has fewer addresses than there are places; all of a /64 are one."""
    honest = fp.fragments(fp.udp(*_between(1000, 53, "10.0.77.2"), DATA), 104, 208)
    assert comes(engine, 0, honest[2]) == []
    for n in range(1000):
        liar = liars[n % len(liars)]
        to = "2001:db8:1::2" if ":" in liar else "10.1.0.2"
        assert comes(engine, 0, fp.fragments(fp.udp(liar, 7, to, 53, DATA), 104, ident=n)[1]) == []
        if n == 500:
            assert comes(engine, 0, honest[1]) == []
    assert comes(engine, 0, honest[0]) == [aged(honest[n]) for n in (0, 2, 1)]


def test_a_flood_of_made_up_senders_is_of_one_link(engine: Engine) -> None:
    """Others' fragments stay, and those of the same link wait again as soon as it is over."""
    engine.rules(forward=[say.rule(state=["new", "established"]) >> say.accept, say.rule() >> say.drop])
    inside, outside = (fp.fragments(fp.udp(a, 7, b, 53, DATA), 104) for a, b in (ENDS[4], ENDS[4][::-1]))
    assert comes(engine, 0, inside[1]) + comes(engine, 1, outside[1]) == []
    for n in range(1000):
        liar = fp.udp(f"10.1.{n // 200}.{n % 200 + 3}", 7, "10.0.0.2", 53, DATA)
        assert comes(engine, 1, fp.fragments(liar, 104)[1]) == []
    assert comes(engine, 0, inside[0]) == [aged(part) for part in inside]
    assert comes(engine, 1, outside[0]) == [aged(outside[0])]
    outside = fp.fragments(fp.udp(*ENDS[4][::-1][:1], 7, ENDS[4][0], 53, DATA), 104, ident=8)
    assert comes(engine, 1, outside[1]) == []
    assert comes(engine, 1, outside[0]) == [aged(part) for part in outside]


def test_a_copy_of_the_machine_has_none(engine: Engine) -> None:
    one, two = fp.fragments(datagram(4), 104)
    assert comes(engine, 0, two) == []
    engine.harness.do("copied", 3, 4)
    assert engine.harness.number("copies") == COPIES
    assert comes(engine, 0, one) == [aged(one)]


def test_next_hops_that_nobody_has_take_no_copies(engine: Engine) -> None:
    one, two = fp.fragments(fp.udp("10.0.0.2", 7, "10.1.0.99", 53, DATA), 104)
    assert comes(engine, 0, two) + comes(engine, 0, one) == []
    assert engine.harness.number("copies") == COPIES
    for _ in range(5):
        engine.run(1)


@given(st.sampled_from([4, 6]), st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=6), st.data())
@settings(deadline=None, max_examples=150)
def test_any_order(harness: Harness, version: int, order: list[int], twice: list[int], data: st.DataObject) -> None:
    """Each fragment passes once, whenever it comes, and none of them changed."""
    engine = Engine(harness)
    engine.track()
    rules(engine)
    parts = fp.fragments(datagram(version), 64, 64, 64, 64, 64)
    came = list(order)
    for part in twice:  # all of them before the datagram is complete
        came.insert(data.draw(st.integers(0, len(came) - 1)), part)
    while came[-1] in came[:-1]:
        came.pop()
    sent = [packet for n in came for packet in comes(engine, 0, parts[n])]
    assert sorted(sent) == sorted(aged(part) for part in parts)
    engine.run(20)
