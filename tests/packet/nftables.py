# SPDX-License-Identifier: MIT
"""Rule sets beside nftables: `unshare -rn python -m tests.packet.nftables EVALUATOR SETS PACKETS`. Packets go into one
tun interface of a namespace and out of another, or not, and the engine has to say the same. Fails by AssertionError.

Both are asked in `forward`, where Linux has no state for a flow that nobody tracks, where no TTL is as it came (one
less), and where packets with an odd address never come: the packets here have other ones. A `reject` is a drop here."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import select
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from tests.packet.anyrules import Maker, packet
from tests.packet.reference import DSCP, FRAGMENTS, PROTOCOLS, TYPES, ends, has_flags, items_of, name_of
from tests.packet.ruleengine import Engine, Packet

DEADLINE_S = 10.0
WITHOUT = ("state", "vlan", "smac", "limit", "log")
CARDS = {0: "tun0", 1: "tun1", 255: "none"}
NAMES = {"wan": 0, "lan": 1, "this": 255}
LAST = 9  # port of a packet that always passes: those before it have come by then, or never will
ADDRESSES = {
    4: ["10.0.0.1", "10.1.0.0", "10.1.2.1", "10.1.2.2", "10.1.2.3", "10.1.2.9", "10.1.2.10", "11.0.0.1", "192.168.1.1",
        "192.168.1.127", "192.168.1.128", "172.16.0.1", "172.15.255.254", "129.0.0.1", "9.9.9.9"],
    6: ["2001:db8::1", "2001:db8::", "2001:db8::2:0:0", "2001:db8::2:0:1", "2001:db8:0:0:8000::1", "2001:db9::1", "2003::5"],
}  # fmt: skip


# ---- rules as text --------------------------------------------------------------------------------------------------


def number_ranges(items: list[Any], names: dict[str, int]) -> list[tuple[int, int]]:
    out = []
    for item in items:
        first, _, last = str(names.get(item, item)).partition("-")
        out.append((int(first), int(last or first)))
    return out


def apart(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for lo, hi in sorted(ranges):
        if out and lo <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(hi, out[-1][1]))
        else:
            out.append((lo, hi))
    return out


def among(
    expression: str, ranges: list[tuple[int, int]], negate: bool, most: int, shown: Any = str
) -> list[str] | None:
    """What nft is to match: [] where all match, None where none does."""
    ranges = apart(ranges)
    if not ranges or ranges == [(0, most)]:
        return [] if bool(ranges) != negate else None
    if expression == "tcp flags" and len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        # A set of one is for nft as that one, and flags without == are "any of these".
        return [f"{expression} {'!=' if negate else '=='} {ranges[0][0]}"]
    told = ", ".join(shown(lo) if lo == hi else f"{shown(lo)}-{shown(hi)}" for lo, hi in ranges)
    return [f"{expression} {'!= ' if negate else ''}{{ {told} }}"]


def places(rule: Any, family: int) -> list[str]:
    """Where in a packet a fragment may be: a packet is of one of these. Rules about layer 4 say it, too: nft reads ports
    of a later fragment of IPv6 as if there were some."""
    meant = {0, 1, 2}
    if (value := rule.conditions.get("fragment")) is not None:
        negate = name_of(value) == "not_"
        given = {FRAGMENTS[item] for item in items_of(value.value if negate else value)}
        meant = meant - given if negate else given
    if {"sport", "dport", "icmp", "icmp_code", "flags"} & set(rule.conditions):
        meant.discard(2)
    if meant == {0, 1, 2}:
        return [""]
    if family == 4:
        told = ["ip frag-off & 0x3fff == 0", "ip frag-off & 0x3fff == 0x2000", "ip frag-off & 0x1fff != 0"]
    else:
        told = ["exthdr frag missing", "exthdr frag exists frag frag-off == 0", "exthdr frag exists frag frag-off != 0"]
    return [told[place] for place in sorted(meant)]


def each(expression: str, values: set[int], negate: bool, shown: Any = str) -> list[str] | None:
    """The same for values one by one: where ranges are no nft's."""
    if not values:
        return [] if negate else None
    return [f"{expression} {'!= ' if negate else ''}{{ {', '.join(shown(value) for value in sorted(values))} }}"]


def condition(word: str, value: Any, family: int, proto: list[Any]) -> list[str] | None:
    negate = name_of(value) == "not_"
    items = items_of(value.value if negate else value)
    ip = "ip" if family == 4 else "ip6"
    if word in ("src", "dst"):
        shown = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}[family]
        most = (1 << (32 if family == 4 else 128)) - 1
        found = [(lo, hi) for _, lo, hi in map(ends, items)]
        return among(f"{ip} {word[0]}addr", found, negate, most, lambda n: str(shown(n)))
    if word == "flags":
        found = [(n, n) for n in range(256) if any(has_flags(item, n) for item in items)]
        return among("tcp flags", found, negate, 255)
    is_six = proto in (["icmpv6"], [58])
    icmp = "icmpv6" if is_six else "icmp"
    names = {"in_": NAMES, "out": NAMES, "proto": PROTOCOLS, "icmp": TYPES[58 if is_six else 1], "dscp": DSCP}
    found = number_ranges(items, names.get(word, {}))
    if word == "family":
        return [] if ((family, family) in found) != negate else None
    ranges = {"sport": ("th sport", 65535), "dport": ("th dport", 65535), "mark": ("meta mark", 0xFFFFFFFF),
              "length": ("meta length", 65535), "ttl": ("ip ttl" if family == 4 else "ip6 hoplimit", 255)}  # fmt: skip
    if word in ranges:
        return among(ranges[word][0], found, negate, ranges[word][1])
    singles = {"in_": "iifname", "out": "oifname", "proto": "meta l4proto", "dscp": f"{ip} dscp",
               "icmp": f"{icmp} type", "icmp_code": f"{icmp} code"}  # fmt: skip
    values = {n for lo, hi in found for n in range(lo, hi + 1)}
    return each(singles[word], values, negate, (lambda n: f'"{CARDS[n]}"') if word in ("in_", "out") else str)


def family_of(rule: Any) -> int | None:
    for word in ("src", "dst"):
        value = rule.conditions.get(word)
        value = value.value if name_of(value) == "not_" else value
        if value is not None:
            return ends(items_of(value)[0])[0] if items_of(value) else int(value.family)
    return {"['icmp']": 4, "[1]": 4, "['icmpv6']": 6, "[58]": 6}.get(str(items_of(rule.conditions.get("proto"))))


def rule_texts(rule: Any, policy: str, family: int) -> list[str]:
    """A rule for packets of one family: none where it is about none of these, several where a packet can match one."""
    if family_of(rule) not in (None, family):
        return []
    parts = [f"meta nfproto ipv{family}"]
    proto = items_of(rule.conditions.get("proto"))
    for word in ("proto", *(word for word in rule.conditions if word not in ("proto", "fragment"))):
        if word in rule.conditions:
            found = condition(word, rule.conditions[word], family, proto)
            if found is None:
                return []
            parts += found
    actions = []
    for action in rule.actions:
        actions.append(
            {"accept": "accept", "drop": "drop", "reject": "drop", "count": "counter", "ret": policy}.get(action.word)
            or {"mark": "meta mark set {}", "jump": "jump {}"}[action.word].format(quoted(action.args[0]))
        )
    return [" ".join([*parts, place, *actions]) for place in places(rule, family)]


def quoted(value: Any) -> str:
    return "c_" + value.replace(" ", "_") if isinstance(value, str) else str(value)


def text(rule_set: Any) -> str:
    """A table whose chain `forward` decides as the rule set's."""
    forward = dict(rule_set.hooks)["forward"]
    policy = forward.policy.word if name_of(forward) == "Chain" and forward.policy else "accept"
    chains = {name: (rules, "return") for name, rules in rule_set.chains.items()}
    chains["forward"] = (forward if isinstance(forward, list) else forward.rules, policy)
    out = ["table inet t {"]
    for name, (rules, policy) in chains.items():
        out.append(f"chain {quoted(name)} {{")
        if name == "forward":
            out += [
                f"type filter hook forward priority 0; policy {policy};",
                f"udp dport {LAST} udp sport {LAST} accept",
            ]
        for rule in rules:
            out += rule_texts(rule, policy, 4) + rule_texts(rule, policy, 6)
        out.append("}")
    # A chain is to be there before it is jumped to.
    return (
        "\n".join(["table inet t {", *(f"chain {quoted(name)} {{ }}" for name in rule_set.chains), "}", *out, "}"])
        + "\n"
    )


# ---- packets --------------------------------------------------------------------------------------------------------


def usual(random: Random) -> Packet:
    """One that Linux forwards unless rules say otherwise."""
    made = packet(random)
    while made.proto in (0, 43, 44, 50, 51, 59, 60, 135, 139, 140):  # extension headers of IPv6
        made = packet(random)
    ip = ipaddress.ip_address
    src, dst = (ip(random.choice(ADDRESSES[made.family])).packed.ljust(16, b"\0") for _ in range(2))
    length = random.choice((100, 101, 999, 1000, 1400))
    fragment = made.fragment if made.sport != LAST else 0
    return made.but(in_=0, out=1, ttl=random.choice((1, 2, 63, 64, 254)), src=src, dst=dst, length=length, state=1,
                    vlan=0, smac=bytes(6), mark=0, fragment=fragment)  # fmt: skip


def wire(p: Packet, number: int) -> bytes:
    """The packet as it is sent: with a TTL that is one more, and a number that is found again."""
    head = 20 if p.family == 4 else 48 if p.fragment else 40
    if p.proto == 6:
        body = struct.pack(">HHIIBBHHH", p.sport, p.dport, 1, 1, 0x50, p.flags, 1000, 0, 0)
    elif p.proto == 17:
        body = struct.pack(">HHHH", p.sport, p.dport, p.length - head, 0)
    else:
        body = struct.pack(">BBHI", p.icmp_type, p.icmp_code, 0, 0)
    body = (b"\xee" * 8 if p.fragment == 2 else body).ljust(p.length - head, b"\0")
    if p.family == 4:
        place = {0: 0, 1: 0x2000, 2: 0x2000 | 100}[p.fragment]
        made = (
            struct.pack(">BBHHHBBH", 0x45, p.dscp << 2, p.length, number, place, p.ttl + 1, p.proto, 0)
            + p.src[:4]
            + p.dst[:4]
        )
        total = sum(struct.unpack(">10H", made))
        total = (total & 0xFFFF) + (total >> 16)
        total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        return made[:10] + struct.pack(">H", total) + made[12:] + body
    first = 6 << 28 | p.dscp << 22 | number
    following = 44 if p.fragment else p.proto
    made = struct.pack(">IHBB", first, p.length - 40, following, p.ttl + 1) + p.src + p.dst
    if p.fragment:
        made += struct.pack(">BBHI", p.proto, 0, 1 if p.fragment == 1 else 800 | 1, number)
    return made + body


def number_of(raw: bytes) -> int:
    return int.from_bytes(raw[4:6], "big") if raw[0] >> 4 == 4 else int.from_bytes(raw[:4], "big") & 0xFFFFF


# ---- the namespace --------------------------------------------------------------------------------------------------


def tun(name: str, address: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
    for argv in (["link", "set", name, "up"], ["-4", "addr", "add", address, "dev", name]):
        subprocess.run(["ip", *argv], check=True, timeout=DEADLINE_S)
    return fd


def set_up() -> tuple[int, int]:
    """The descriptors of what goes in and of what comes out."""
    fds = tun("tun0", "198.51.100.1/30"), tun("tun1", "198.51.100.5/30")
    for argv in (["-4", "route", "add", "default", "dev", "tun1"], ["-6", "route", "add", "default", "dev", "tun1"]):
        subprocess.run(["ip", *argv], check=True, timeout=DEADLINE_S)
    for name, value in (("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1"), ("ipv4/conf/all/rp_filter", "0"),
                        ("ipv4/conf/tun0/rp_filter", "0")):  # fmt: skip
        Path("/proc/sys/net", name).write_text(value)
    return fds


def passed(fds: tuple[int, int], packets: list[Packet]) -> set[int]:
    """The numbers of those that came out."""
    for number, one in enumerate(packets):
        os.write(fds[0], wire(one, number))
    ip = ipaddress.ip_address("10.0.0.1").packed.ljust(16, b"\0")
    os.write(fds[0], wire(Packet(proto=17, sport=LAST, dport=LAST, src=ip, dst=ip[:3] + b"\2" + ip[4:]), len(packets)))
    out: set[int] = set()
    deadline = time.monotonic() + DEADLINE_S
    while len(packets) not in out:
        ready, _, _ = select.select([fds[1]], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, "the last packet, which always passes, has not come"
        raw = os.read(fds[1], 65536)
        if raw[0] >> 4 == 4 or raw[8] != 0xFE:  # not the kernel's own from a link-local address
            out.add(number_of(raw))
    return out - {len(packets)}


def main(evaluator: Path, sets: int, count: int) -> None:
    fds = set_up()
    kinds = {"accept": 0, "drop": 0}
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(evaluator))
        for seed in range(sets):
            random = Random(seed)
            rule_set = Maker(random, ("forward",), WITHOUT).rule_set()
            assert engine.load(rule_set.compile().bytes)
            told = text(rule_set)
            done = subprocess.run(["nft", "-f", "-"], input=f"flush ruleset\n{told}", capture_output=True, text=True,
                                  timeout=DEADLINE_S, check=False)  # fmt: skip
            assert done.returncode == 0, f"{done.stderr}\n{told}"
            packets = [usual(random) for _ in range(count)]
            came = passed(fds, packets)
            for number, verdict in enumerate(engine.run([("forward", one, 0) for one in packets])):
                kind = "accept" if verdict.kind == "accept" else "drop"
                kinds[kind] += 1
                assert (number in came) == (kind == "accept"), f"seed {seed}: {packets[number]}: {verdict}\n{told}"
    assert min(kinds.values()) > sets * count // 10, kinds
    print(f"agreed about {sets * count} packets: {kinds}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
