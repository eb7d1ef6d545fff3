# SPDX-License-Identifier: MIT
"""The engine decides as the reference does, about rule sets and packets at random. FLOE_RULE_SETS sets how many rule
sets are made beside hypothesis's, with 50 packets each."""

from __future__ import annotations

import ipaddress
import os
import struct
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.packet.anyrules import Maker, packet
from tests.packet.language import part
from tests.packet.language import rules as r
from tests.packet.reference import Reference
from tests.packet.ruleengine import HOOKS, Engine, Packet

RULE_SETS = int(os.environ.get("FLOE_RULE_SETS", "300"))
PACKETS = 50
LOG_SIZE = 8
ENDS = (r.drop, r.accept, r.count("a"))


def compare(engine: Engine, rule_set: Any, random: Random) -> None:
    """All that both can be asked about one rule set."""
    assert engine.load(program := rule_set.compile().bytes), program.hex()
    engine.log()
    before, lost = engine.counts(), engine.log()[1]
    reference = Reference(rule_set)
    hooks = [hook for hook, chain in rule_set.hooks if chain is not None] or list(HOOKS)
    questions: list[tuple[str, Packet, int]] = []
    now = 0
    for _ in range(PACKETS):
        now += random.choice((0, 1, 1000, 10**6, 10**9, 2 * 10**10))
        questions.append((random.choice(hooks), packet(random), now))
    verdicts = engine.run(questions)
    for (hook, asked, when), verdict in zip(questions, verdicts, strict=True):
        assert verdict == reference.run(hook, asked, when), (hook, asked, shown(rule_set))
    for name, (packets, size) in engine.counts().items():
        base = before[name]
        assert (packets - base[0], size - base[1]) == reference.counts.get(name, (0, 0)), shown(rule_set)
    records, now_lost = engine.log()
    assert now_lost - lost == max(0, len(reference.log) - LOG_SIZE)
    wanted = reference.log[-LOG_SIZE:]
    assert [(r.time_ns, r.hook, r.text) for r in records] == [each[:3] for each in wanted], shown(rule_set)
    # A record has the packet as it came: a mark that a rule set is the verdict's.
    assert [r.key[:60] for r in records] == [each[3].pack()[:60] for each in wanted]


def shown(rule_set: Any) -> str:
    chains = [*rule_set.hooks, *rule_set.chains.items()]
    return "\n".join(f"{name}: {getattr(chain, 'rules', chain)}" for name, chain in chains)


@pytest.fixture(autouse=True)
def switches(monkeypatch: pytest.MonkeyPatch) -> None:
    """For few rules, too."""
    monkeypatch.setattr(part("layout"), "ROW", 2)
    monkeypatch.setattr(part("layout"), "BLOCK", 4)


# The fixture is the same for each example.
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.integers(0, 2**32))
def test_the_engine_agrees_with_the_reference(engine: Engine, random: Random, seed: int) -> None:
    compare(engine, Maker(random).rule_set(), Random(seed))


@pytest.mark.limit(600 + RULE_SETS / 10)
def test_more_of_them(engine: Engine) -> None:
    for seed in range(RULE_SETS):
        random = Random(seed)
        compare(engine, Maker(random).rule_set(), random)


def test_rows_of_rules_that_ask_for_addresses(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks within networks, as many as a switch is for."""
    monkeypatch.undo()
    assert part("layout").BLOCK == 64
    random = Random(7)
    for word in ("src", "dst", "src", "dst"):
        made = []
        for _ in range(300):
            bits = random.choice((16, 20, 24, 30, 31, 32))
            number = (10 << 24 | random.randrange(1 << 8) << 12 | random.randrange(4)) >> (32 - bits) << (32 - bits)
            network = f"{ipaddress.ip_address(number)}/{bits}"
            conditions: dict[str, Any] = {word: random.choice((network, [network, "10.200.0.0-10.201.0.5"]))}
            if random.random() < 0.5:
                conditions |= {"proto": random.choice(("tcp", "udp")), "dport": random.choice((80, 443, 85))}
            if random.random() < 0.01:
                conditions[word] = r.not_(network)
            made.append(r.rule(**conditions) >> random.choice((*ENDS, r.mark(len(made)))))
        rule_set = r.RuleSet(forward=made)
        program = rule_set.compile().bytes
        assert struct.unpack_from("<20I", program)[17] > 200  # cases
        assert engine.load(program)
        reference = Reference(rule_set)
        packets = []
        for _ in range(200):
            low = random.choice((0, 0, 1, -1)) + (10 << 24 | random.randrange(1 << 8) << 12 | random.randrange(4))
            src = low.to_bytes(4, "big").ljust(16, b"\0")
            packets.append(packet(random).but(family=4, src=src, dst=src, fragment=0))
        asked = [("forward", each, 0) for each in packets]
        assert engine.run(asked) == [reference.run(*each) for each in asked]
        assert len({verdict.mark for verdict in engine.run(asked)}) > 7


def test_rules_that_ask_the_same_are_looked_at_once() -> None:
    """Not once more for each rule before them: a thousand such rules took a minute."""

    class Asked(dict[int, Any]):
        looks = 0

        def __contains__(self, field: object) -> bool:
            Asked.looks += 1
            return super().__contains__(field)

    F = part("program").F
    asked = [Asked({F.PROTO: ((6, 6),), F.IN: ((0, 0),)}) for _ in range(1000)]
    assert part("layout")._switches(asked) == {}
    assert Asked.looks < 10000
