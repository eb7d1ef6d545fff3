# SPDX-License-Identifier: MIT
"""Rule sets and packets at random, from few values, so that they meet often; valid ones alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from random import Random
from typing import Any

from tests.packet.language import rules as r
from tests.packet.ruleengine import HOOKS, REJECTS, Packet

ADDRESSES = {
    4: ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.1.2.2-10.1.2.9", "0.0.0.0/0", "192.168.1.1", "192.168.1.0/25",
        "255.255.255.255", "0.0.0.0", "172.16.0.0-192.168.1.0", "128.0.0.0/1"],
    6: ["::/0", "::1", "fe80::/10", "2001:db8::/32", "2001:db8::1:0:0-2001:db8::2:0:0", "2001:db8::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::-::ffff", "8000::/1", "2001:db8:0:0:8000::/65"],
}  # fmt: skip
NUMBERS: dict[str, list[Any]] = {
    "sport": [0, 80, 443, "1024-65535", "80-90", "100-200", 65535],
    "in_": [0, 1, "wan", "lan", "this", "0-1"],
    "state": ["new", "established", "related", "invalid", "untracked"],
    "icmp": [0, 5, "echo-request", "redirect", "0-8", 255],
    "icmp_code": [0, 3, "1-5"],
    "flags": ["syn !ack", "ack", "!syn", "fin rst", "syn ack !fin !rst !psh !urg !ece !cwr"],
    "mark": [0, 1, 7, "2-6", 0xFFFFFFFF, "0-4294967295"],
    "vlan": [0, 1, "100-200", 4095],
    "smac": ["52:54:00:00:00:01", "52:54:00:00:00:02", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"],
    "length": [60, 1500, "0-100", "1000-65535"],
    "ttl": [0, 1, 64, 255, "2-63", "0-255"],
    "dscp": ["ef", "cs1", "af11", 0, "af43", "1-20"],
    "fragment": ["whole", "first", "later"],
    "family": [4, 6],
    "proto": ["tcp", "udp", "icmp", "icmpv6", "gre", 0, "1-6", 255],
}  # fmt: skip
NUMBERS["dport"], NUMBERS["out"] = NUMBERS["sport"], NUMBERS["in_"]
ANYWHERE = ["in_", "state", "mark", "mark", "mark", "vlan", "smac", "length", "ttl", "dscp", "fragment"]
ROWS = ["in_", "length", "ttl", "dscp", "mark"]
NAT = ["10.0.0.5", "192.168.1.1", "255.255.255.255"]


class Maker:
    """Makes one rule set. hooks: those it may have; without: words of conditions and actions that it has not."""

    def __init__(self, random: Random, hooks: Sequence[str] = HOOKS, without: Collection[str] = ()) -> None:
        self.r = random
        self.hooks = hooks
        self.without = without
        self.named: dict[Any, Any] = {}
        self.chains: dict[str, list[Any]] = {}

    def rule_set(self) -> Any:
        hooks: dict[str, Any] = {}
        for hook in self.r.sample(self.hooks, min(len(self.hooks), self.r.choice((1, 1, 2, 4)))):
            made = self.rules(hook, 0)
            hooks[hook] = made
            if self.r.random() < 0.7:
                hooks[hook] = r.Chain(hook, policy=self.r.choice((r.accept, r.drop)), rules=made)
        return r.RuleSet(chains=self.chains, cards={"wan": 0, "lan": 1}, **hooks)

    def rules(self, hook: str, depth: int) -> list[Any]:
        made = [self.rule(hook, depth) for _ in range(self.r.choice((0, 1, 2, 3, 4, 12)))]
        if len(made) > 2 and self.r.random() < 0.4:  # a row of rules that ask the same
            word = self.r.choice(ROWS)
            for each in made:
                each.conditions[word] = self.value(word, 4)
        return made

    def rule(self, hook: str, depth: int) -> Any:
        family = self.r.choice((4, 6))
        kind = self.r.choice(("", "", "tcp", "ports", "icmp", "proto"))
        ends = self.ends(hook, depth, kind)
        is_nat = ends[0].word in ("dnat", "snat", "masquerade")
        family = 4 if is_nat else family
        words, wanted = self.protocol(kind, family)
        wanted += [word for word in ("src", "dst") if self.r.random() < 0.3]
        wanted += [self.r.choice(ANYWHERE) for _ in range(self.r.choice((0, 0, 1, 2)))]
        if hook in ("forward", "postrouting") and self.r.random() < 0.2:
            wanted.append("out")
        if self.r.random() < 0.1 and not is_nat:
            words["family"] = family
        for word in wanted:
            if word not in self.without:
                words[word] = self.value(word, family)
        if items(words.get("proto")) == [{4: "icmpv6", 6: "icmp"}[family]]:
            words["proto"] = "gre"  # one at random, which is about the other family
        made = r.rule(**words)
        for action in (*self.middle(), *ends):
            if action.word not in self.without:
                made = made >> action
        return made

    def protocol(self, kind: str, family: int) -> tuple[dict[str, Any], list[str]]:
        """Conditions about the protocol, and words that may stand beside them."""
        if kind in ("tcp", "ports"):
            proto = "tcp" if kind == "tcp" else self.r.choice(("udp", ["tcp", "udp"], ["udp", 6]))
            wanted = [word for word in ("sport", "dport") if self.r.random() < 0.5]
            return {"proto": proto}, wanted + (["flags"] if kind == "tcp" and self.r.random() < 0.4 else [])
        if kind == "icmp":
            wanted = [word for word in ("icmp", "icmp_code") if self.r.random() < 0.5]
            return {"proto": self.r.choice(("icmp", ["icmp"], 1)) if family == 4 else "icmpv6"}, wanted
        return {}, ["proto"] if kind else []

    def value(self, word: str, family: int) -> Any:
        known = ADDRESSES[family] if word in ("src", "dst") else NUMBERS[word]
        chance = self.r.random()
        value: Any = self.r.choice(known)
        if chance < 0.4:
            value = self.r.sample(known, self.r.randint(1, min(4, len(known))))
        elif chance < 0.5 and word not in ("proto", "icmp", "family"):
            kind = ("address", family) if word in ("src", "dst") else {"dport": "sport", "out": "in_"}.get(word, word)
            if kind not in self.named:
                content = self.r.sample(known, self.r.randint(0, min(6, len(known))))
                name = f"set {len(self.named)}"
                self.named[kind] = r.Set(name, content, family=family if word in ("src", "dst") else None)
            value = self.named[kind]
        return r.not_(value) if self.r.random() < 0.2 else value

    def middle(self) -> list[Any]:
        out = []
        for _ in range(self.r.choice((0, 0, 1, 2))):
            rate = {self.r.choice(("per_s", "per_min", "per_h")): self.r.choice((1, 3, 1000))}
            out.append(
                self.r.choice(
                    (r.log("x"), r.log("y"), r.count("a"), r.count("b"), r.count("c"), r.mark(7), r.mark(3),
                     r.limit(burst=self.r.choice((1, 2, 5)), **rate))
                )
            )  # fmt: skip
        return out

    def ends(self, hook: str, depth: int, kind: str) -> list[Any]:
        """The last action of a rule."""
        known = [r.accept, r.drop, r.drop, r.count("d"), r.ret]
        port = self.r.choice((None, 0, 8080)) if kind in ("tcp", "ports") else None
        if hook == "prerouting":
            known += [r.dnat(self.r.choice(NAT), port)]
            if kind in ("tcp", "ports"):
                known.append(r.dnat(self.map()))
        elif hook == "postrouting":
            known += [r.snat(self.r.choice(NAT), port), r.masquerade]
        else:
            known += [r.reject, r.reject(self.r.choice(REJECTS if kind == "tcp" else REJECTS[:-1]))]
        if depth < 3 and self.r.random() < 0.2:
            return [r.jump(self.chain(hook, depth + 1))]
        return [self.r.choice(known)]

    def chain(self, hook: str, depth: int) -> str:
        """A chain to jump to from a depth above this one: one that is there, or another."""
        known = [name for name in self.chains if name.startswith(hook) and int(name.split()[1]) >= depth]
        if known and self.r.random() < 0.4:
            return self.r.choice(known)
        name = f"{hook} {depth} {len(self.chains)}"
        self.chains[name] = []
        self.chains[name] = self.rules(hook, depth)
        return name

    def map(self) -> Any:
        if "map" not in self.named:
            known = {80: "10.0.0.5", "81-90": ("10.0.0.6", 8080), 443: ("10.0.0.7", 0), "1024-65535": "10.0.0.8"}
            some = self.r.sample(sorted(known, key=str), self.r.randint(0, len(known)))
            self.named["map"] = r.Map("map", {key: known[key] for key in some})
        return self.named["map"]


def items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def address(random: Random, family: int) -> bytes:
    """One at, or beside, an end of those that rules have; or any."""
    size = 4 if family == 4 else 16
    if random.random() < 0.1:
        return random.randbytes(size).ljust(16, b"\0")
    text = random.choice(ADDRESSES[family])
    if "-" in text:
        end = int(ipaddress.ip_address(random.choice(text.split("-"))))
    else:
        network = ipaddress.ip_network(text)
        end = int(random.choice((network[0], network[-1])))
    number = (end + random.choice((0, 0, 0, 1, -1))) % (1 << 8 * size)
    return number.to_bytes(size, "big").ljust(16, b"\0")


def packet(random: Random) -> Packet:
    family = random.choice((4, 6))
    proto = random.choice((1, 6, 6, 6, 17, 17, 58, 47, random.randrange(256)))
    fragment = random.choice((0, 0, 0, 0, 1, 2))
    has_ports = proto in (6, 17) and fragment != 2
    is_icmp = proto in (1, 58) and fragment != 2
    ports = (0, 79, 80, 85, 90, 91, 150, 443, 1023, 1024, 65535, random.randrange(65536))
    return Packet(
        family=family,
        proto=proto,
        in_=random.choice((0, 1, 2, 255)),
        out=random.choice((0, 1, 2, 255)),
        fragment=fragment,
        ttl=random.choice((0, 1, 2, 63, 64, 255)),
        dscp=random.choice((0, 1, 8, 10, 20, 21, 38, 46, 63)),
        flags=random.choice((2, 18, 16, 4, 5, 17, random.randrange(256))) if proto == 6 else 0,
        icmp_type=random.choice((0, 5, 8, 9, 128, 137, 255)) if is_icmp else 0,
        icmp_code=random.choice((0, 1, 3, 5, 6)) if is_icmp else 0,
        state=random.choice((1, 1, 2, 4, 8, 16)),
        src=address(random, family),
        dst=address(random, family),
        sport=random.choice(ports) if has_ports else 0,
        dport=random.choice(ports) if has_ports else 0,
        length=random.choice((20, 60, 100, 101, 999, 1000, 1500, 65535)),
        vlan=random.choice((0, 1, 99, 100, 200, 201, 4095)),
        smac=random.choice((bytes.fromhex("525400000001"), bytes.fromhex("525400000002"), bytes(6), b"\xff" * 6)),
        mark=random.choice((0, 1, 2, 6, 7, 0xFFFFFFFF)),
    )
