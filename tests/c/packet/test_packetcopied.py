# SPDX-License-Identifier: MIT
"""The engine in a machine that has become a copy of another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Packet, Raw

from tests.c.packet.packetwords import Engine, addressed, to
from tests.c.support.harness import Harness
from tests.packet import language

say = language.rules


@pytest.fixture
def engine(engine_program: Path) -> Iterator[Engine]:
    with Harness(engine_program) as harness:
        yield Engine(harness)


def udp(source: int, destination: int, sport: int, dport: int) -> Packet:
    return to(source, addressed(4, source, destination) / UDP(sport=sport, dport=dport) / Raw(b"x"))


def test_what_waits_is_the_other_one_s(engine: Engine) -> None:
    """It is given up, and not sent twice; who is a neighbour is asked anew."""
    asked = [engine.receive(0, udp(0, 1, 1000 + n, 53)).asked for n in range(3)]
    assert asked == [[(1, "10.1.0.2")], [], []]
    engine.harness.do("copied", 3, 4)
    assert engine.left() == 0
    engine.neighbour(1, "10.1.0.2", "02:00:00:00:01:02")
    result = engine.run(1)
    assert result.sent == [] and result.asked == []
    assert len(engine.receive(0, udp(0, 1, 1, 53)).sent) == 1
    assert engine.left() == 0


def test_flows_go_on_by_another_hash(engine: Engine) -> None:
    engine.track()
    engine.neighbour(0, "10.0.0.2", "02:00:00:00:00:aa")
    engine.neighbour(1, "10.1.0.2", "02:00:00:00:01:02")
    known = [say.rule(state="established") >> say.accept, say.rule(in_=0) >> say.accept]
    outside = [say.rule(out=1) >> say.masquerade]
    engine.rules(forward=say.Chain("forward", policy=say.drop, rules=known), postrouting=outside)

    def ports(first: int) -> list[int]:
        sent = [engine.receive(0, udp(0, 1, first + n, 53)).sent[0].ether for n in range(40)]
        engine.left()
        return [frame[UDP].sport for frame in sent]

    before = ports(1000)
    engine.harness.do("copied", 77, 78)
    assert ports(1000) == before  # each is found again
    for n, port in enumerate(before):
        reply = to(1, addressed(4, 1, 0) / UDP(sport=53, dport=port))
        reply.payload.dst = "10.1.0.1"
        (sent,) = engine.receive(1, reply).sent
        assert sent.ether[UDP].dport == 1000 + n
    engine.left()
