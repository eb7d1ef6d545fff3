# SPDX-License-Identifier: MIT
"""What rules mean, a second time: reads the objects that a script makes, one packet and one condition at a time, and
knows neither compiler nor program. For the tests alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

from tests.packet.ruleengine import Packet, Verdict

STATES = {"new": 1, "established": 2, "related": 4, "invalid": 8, "untracked": 16}
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "gre": 47}
TYPES = {1: {"echo-request": 8, "echo-reply": 0, "redirect": 5}, 58: {"echo-request": 128, "redirect": 137}}
FRAGMENTS = {"whole": 0, "first": 1, "later": 2}
FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
DSCP = {"ef": 46, "cs1": 8, "af11": 10, "af43": 38}
NAMES = {"proto": PROTOCOLS, "state": STATES, "fragment": FRAGMENTS, "dscp": DSCP}
SECONDS = {"per_s": 1, "per_min": 60, "per_h": 3600}


def name_of(thing: Any) -> str:
    return type(thing).__name__


def items_of(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) or name_of(value) == "Set" else [value]


@cache
def ends(text: str) -> tuple[int, Any, Any]:
    """Family, first and last address."""
    if "-" in text:
        first, last = (ipaddress.ip_address(part.strip()) for part in text.split("-"))
    else:
        network = ipaddress.ip_network(text)
        first, last = network[0], network[-1]
    return first.version, int(first), int(last)


def is_number(item: Any, number: int, names: dict[str, int]) -> bool:
    if isinstance(item, str):
        if item in names:
            return number == names[item]
        first, _, last = item.partition("-")
        return int(first) <= number <= int(last or first)
    return bool(number == item)


def has_flags(text: str, flags: int) -> bool:
    return all(bool(flags >> FLAGS.index(word.lstrip("!")) & 1) != word.startswith("!") for word in text.split())


def has_address(value: Any, family: int, raw: bytes) -> bool:
    """Whether an address is among those of a condition, which are of one family. Of another: in no case."""
    inner = value.value if name_of(value) == "not_" else value
    items = items_of(inner)
    if family != (ends(items[0])[0] if items else inner.family):
        return False
    number = int.from_bytes(raw[: 4 if family == 4 else 16], "big")
    found = any(first <= number <= last for _, first, last in map(ends, items))
    return found != (name_of(value) == "not_")


@dataclass
class Bucket:
    tokens: Fraction
    at: int = 0


@dataclass
class Reference:
    """A rule set with its counters, its log of (time, hook, text, packet), and its limits."""

    rule_set: Any
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    log: list[tuple[int, str, str, Packet]] = field(default_factory=list)
    buckets: dict[tuple[str, int, int], Bucket] = field(default_factory=dict)

    def run(self, hook: str, packet: Packet, now: int) -> Verdict:
        chain = dict(self.rule_set.hooks)[hook]
        if chain is None:
            return Verdict("accept", packet.mark)
        rules = chain if isinstance(chain, list) else chain.rules
        policy = None if isinstance(chain, list) else chain.policy
        way = Way(self, hook, packet, now)
        verdict = way.through(hook, rules)
        return verdict or Verdict(policy.word if policy else "accept", way.packet.mark)

    def rules_of(self, name: str) -> list[Any]:
        chain = self.rule_set.chains[name]
        return chain if isinstance(chain, list) else chain.rules


@dataclass
class Way:
    """One packet's way through the chains."""

    reference: Reference
    hook: str
    packet: Packet
    now: int

    def through(self, name: str, rules: Iterable[Any]) -> Verdict | None:
        """The verdict, or None where a chain comes to its end, or goes back."""
        for number, rule in enumerate(rules):
            if not self.holds(rule):
                continue
            for place, action in enumerate(rule.actions):
                if action.word == "ret":
                    return None
                if action.word == "limit" and not self.has_token(dict(action.args), (name, number, place)):
                    break
                verdict = self.do(action)
                if verdict is not None:
                    return verdict
        return None

    def do(self, action: Any) -> Verdict | None:
        packet, word = self.packet, action.word
        if word == "log":
            self.reference.log.append((self.now, self.hook, action.args[0], packet))
        elif word == "count":
            packets, size = self.reference.counts.get(action.args[0], (0, 0))
            self.reference.counts[action.args[0]] = (packets + 1, size + packet.length)
        elif word == "mark":
            self.packet = packet.but(mark=action.args[0])
        elif word == "jump":
            name = action.args[0] if isinstance(action.args[0], str) else action.args[0].name
            return self.through(name, self.reference.rules_of(name))
        elif word == "reject":
            return Verdict("reject", packet.mark, action.args[0] if action.args else "port-unreachable")
        elif word in ("dnat", "snat"):
            return self.translated(word, *action.args)
        elif word != "limit":
            return Verdict(word, packet.mark)
        return None

    def translated(self, word: str, to: Any, port: int = 0) -> Verdict | None:
        if name_of(to) == "Map":
            for ports, target in to.items():
                if is_number(ports, self.packet.dport, {}):
                    address, port = target if isinstance(target, tuple) else (target, 0)
                    return Verdict(word, self.packet.mark, "", address, port)
            return None
        return Verdict(word, self.packet.mark, "", to, port)

    def has_token(self, limit: dict[str, Any], where: tuple[str, int, int]) -> bool:
        word = next(word for word in SECONDS if limit[word] is not None)
        period = SECONDS[word] * 10**9 // limit[word]
        bucket = self.reference.buckets.setdefault(where, Bucket(Fraction(limit["burst"])))
        bucket.tokens = min(Fraction(limit["burst"]), bucket.tokens + Fraction(max(0, self.now - bucket.at), period))
        bucket.at = max(bucket.at, self.now)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def holds(self, rule: Any) -> bool:
        packet = self.packet
        proto = rule.conditions.get("proto")
        if items_of(proto) in (["icmp"], [1]) and packet.family != 4:
            return False
        if items_of(proto) in (["icmpv6"], [58]) and packet.family != 6:
            return False
        if {"sport", "dport", "icmp", "icmp_code", "flags"} & set(rule.conditions) and packet.fragment == 2:
            return False
        if {"dnat", "snat", "masquerade"} & {action.word for action in rule.actions} and packet.family != 4:
            return False
        return all(self.condition(word, value) for word, value in rule.conditions.items())

    def condition(self, word: str, value: Any) -> bool:
        if word in ("src", "dst"):
            return has_address(value, self.packet.family, getattr(self.packet, word))
        negated = name_of(value) == "not_"
        items = items_of(value.value if negated else value)
        return any(self.is_one(word, item) for item in items) != negated

    def is_one(self, word: str, item: Any) -> bool:
        packet = self.packet
        if word == "smac":
            return bytes.fromhex(item.replace(":", "")) == packet.smac
        if word == "flags":
            return has_flags(item, packet.flags)
        if word == "icmp":
            return is_number(item, packet.icmp_type, TYPES.get(packet.proto, {}))
        if word == "fragment" and isinstance(item, bool):
            return item == (packet.fragment != 0)
        if word in ("in_", "out"):
            return is_number(item, getattr(packet, word), {"this": 255, **self.reference.rule_set.cards})
        return is_number(item, getattr(packet, word), NAMES.get(word, {}))
