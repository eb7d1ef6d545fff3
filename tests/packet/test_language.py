# SPDX-License-Identifier: MIT
"""What rules mean, case by case, and what is said about those that cannot be."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.packet.language import part, rules
from tests.packet.language import rules as r
from tests.packet.ruleengine import HOOKS, Engine, Packet, Verdict

SECOND = 10**9


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed.ljust(16, b"\0")


V4 = Packet(src=ip("10.1.2.3"), dst=ip("192.0.2.1"))
V6 = V4.but(family=6, src=ip("2001:db8::1"), dst=ip("2001:db8:1::1"))


def decides(engine: Engine, rule_set: Any, *packets: Packet, hook: str = "forward") -> list[str]:
    assert engine.load(rule_set.compile().bytes)
    return [v.kind for v in engine.run([(hook, packet, 0) for packet in packets])]


@pytest.mark.parametrize(
    ("words", "yes", "no"),
    [
        ({}, [V4, V6, Packet(family=0)], []),
        ({"src": "10.0.0.0/8"}, [V4], [V6, V4.but(src=ip("11.0.0.0"))]),
        ({"src": r.not_("10.0.0.0/8")}, [V4.but(src=ip("9.255.255.255"))], [V4, V6, Packet(family=0)]),
        ({"src": ["10.1.2.3", "192.0.2.0-192.0.2.9"]}, [V4, V4.but(src=ip("192.0.2.9"))], [V4.but(src=ip("192.0.2.10"))]),
        ({"src": {"10.1.2.3", "10.1.2.5"}}, [V4], [V4.but(src=ip("10.1.2.4"))]),
        ({"dst": "2001:db8:1::/48"}, [V6], [V4, V6.but(dst=ip("2001:db8:2::1"))]),
        ({"dst": "::ffff:1.2.3.4"}, [V6.but(dst=ip("::ffff:1.2.3.4"))], [V6]),
        ({"proto": "tcp", "dport": [80, "100-200"]}, [V4, V6, V4.but(dport=200)], [V4.but(dport=201), V4.but(proto=17)]),
        ({"proto": "tcp", "dport": 80}, [V4.but(fragment=1)], [V4.but(fragment=2, dport=0), V4.but(fragment=2)]),
        ({"proto": "tcp", "dport": r.not_(80)}, [V4.but(dport=81)], [V4, V4.but(fragment=2, dport=0)]),
        ({"proto": ["tcp", 17], "sport": "0-1023"}, [V4.but(sport=0, proto=17)], [V4, V4.but(proto=1, sport=5)]),
        ({"proto": r.not_("tcp")}, [V4.but(proto=17)], [V4]),
        ({"state": ["established", "related"]}, [V4.but(state=2), V4.but(state=4)], [V4, V4.but(state=8)]),
        ({"proto": "icmp", "icmp": "echo-request"}, [V4.but(proto=1, icmp_type=8)], [V4.but(proto=1), V6.but(proto=1, icmp_type=8)]),
        ({"proto": "icmpv6", "icmp": ["echo-request", 1]}, [V6.but(proto=58, icmp_type=128)], [V6.but(proto=58, icmp_type=8)]),
        ({"proto": "icmp", "icmp": 3, "icmp_code": "4-5"}, [V4.but(proto=1, icmp_type=3, icmp_code=4)], [V4.but(proto=1, icmp_type=3)]),
        ({"proto": "tcp", "flags": "syn !ack"}, [V4, V4.but(flags=3)], [V4.but(flags=18), V4.but(flags=16)]),
        ({"proto": "tcp", "flags": r.not_(["syn", "rst"])}, [V4.but(flags=16)], [V4, V4.but(flags=4)]),
        ({"in_": "wan", "out": 1}, [V4], [V4.but(in_=1), V4.but(out=255)]),
        ({"in_": "this"}, [V4.but(in_=255)], [V4]),
        ({"mark": [1, "5-6"], "vlan": 7}, [V4.but(mark=6, vlan=7)], [V4.but(mark=7, vlan=7), V4.but(mark=6)]),
        ({"smac": "52:54:00:aB:cd:ef"}, [V4.but(smac=b"\x52\x54\x00\xab\xcd\xef")], [V4]),
        ({"length": "61-65535"}, [V4.but(length=61)], [V4]),
        ({"ttl": "0-1", "family": 6}, [V6.but(ttl=1)], [V6, V4.but(ttl=1)]),
        ({"dscp": ["ef", "af21", 1]}, [V4.but(dscp=46), V4.but(dscp=18)], [V4]),
        ({"fragment": True}, [V4.but(fragment=1), V4.but(fragment=2)], [V4]),
        ({"fragment": r.not_("later")}, [V4, V4.but(fragment=1)], [V4.but(fragment=2)]),
        ({"src": r.Set("few", ["10.1.2.3", "10.1.2.4/31"])}, [V4, V4.but(src=ip("10.1.2.5"))], [V6, V4.but(src=ip("10.1.2.6"))]),
        ({"src": r.Set("none", [], family=4)}, [], [V4, V6]),
        ({"src": r.not_(r.Set("none", [], family=4))}, [V4], [V6]),
    ],
)  # fmt: skip
def test_conditions(engine: Engine, words: dict[str, Any], yes: list[Packet], no: list[Packet]) -> None:
    rule_set = r.RuleSet(forward=[r.rule(**words) >> r.drop], cards={"wan": 0})
    assert decides(engine, rule_set, *yes, *no) == ["drop"] * len(yes) + ["accept"] * len(no)


def test_a_mark_is_seen_by_later_rules_and_in_the_verdict(engine: Engine) -> None:
    rule_set = r.RuleSet(forward=[r.rule(mark=0) >> r.mark(9), r.rule(mark=9) >> r.drop, r.rule() >> r.mark(3)])
    assert engine.load(rule_set.compile().bytes)
    asked = [("forward", V4, 0), ("forward", V4.but(mark=1), 0), ("input", V4.but(mark=2), 0)]
    assert engine.run(asked) == [Verdict("drop", 9), Verdict("accept", 3), Verdict("accept", 2)]


def test_chains_come_back_and_policies_end(engine: Engine) -> None:
    chains = {
        "a": [r.rule(src="10.0.0.0/8") >> r.jump("b"), r.rule(proto="udp") >> r.ret, r.rule(proto="udp") >> r.drop],
        "b": r.Chain("b", rules=[r.rule(proto="gre") >> r.accept]),
    }
    forward = r.Chain("forward", policy=r.drop, rules=[r.rule() >> r.jump("a"), r.rule(proto="udp") >> r.accept])
    rule_set = r.RuleSet(forward=forward, input=[r.rule(proto="tcp") >> r.ret, r.rule() >> r.drop], chains=chains)
    assert decides(engine, rule_set, V4, V4.but(proto=17), V4.but(proto=47), V6.but(proto=47)) == [
        "drop", "accept", "accept", "drop",
    ]  # fmt: skip
    assert decides(engine, rule_set, V4, V4.but(proto=17), hook="input") == ["accept", "drop"]
    assert decides(engine, rule_set, V4, hook="prerouting") == ["accept"]


def test_verdicts_about_addresses(engine: Engine) -> None:
    web = r.Map("web", {80: "10.0.0.5", "8000-8010": ("10.0.0.6", 81)})
    rule_set = r.RuleSet(
        prerouting=[
            r.rule(proto="tcp") >> r.dnat(web),
            r.rule(proto="udp") >> r.dnat("10.0.0.7", 53),
            r.rule(src="10.1.2.3") >> r.dnat("10.0.0.8"),
        ],
        postrouting=[r.rule(proto="tcp") >> r.snat("192.0.2.9", 1000), r.rule(out=1) >> r.masquerade],
        forward=[r.rule(proto="tcp") >> r.reject("tcp-reset"), r.rule() >> r.reject],
    )
    assert engine.load(rule_set.compile().bytes)

    def one(hook: str, packet: Packet) -> Verdict:
        return engine.run([(hook, packet, 0)])[0]

    assert one("prerouting", V4) == Verdict("dnat", address="10.0.0.5")
    assert one("prerouting", V4.but(dport=8010)) == Verdict("dnat", address="10.0.0.6", port=81)
    assert one("prerouting", V4.but(dport=8011)) == Verdict("dnat", address="10.0.0.8")
    assert one("prerouting", V4.but(proto=17)) == Verdict("dnat", address="10.0.0.7", port=53)
    assert one("prerouting", V6) == Verdict("accept")
    assert one("postrouting", V4) == Verdict("snat", address="192.0.2.9", port=1000)
    assert one("postrouting", V4.but(proto=17)) == Verdict("masquerade")
    assert one("postrouting", V6.but(proto=17)) == Verdict("accept")
    assert one("forward", V4) == Verdict("reject", reject="tcp-reset")
    assert one("forward", V6.but(proto=17)) == Verdict("reject", reject="port-unreachable")


def test_a_limit_is_a_bucket_of_tokens(engine: Engine) -> None:
    rule_set = r.RuleSet(forward=[r.rule() >> r.limit(per_s=2, burst=3) >> r.drop])
    assert engine.load(rule_set.compile().bytes)
    times = [0, 0, 0, 0, SECOND // 2 - 1, SECOND // 2, SECOND // 2, 9 * SECOND, 9 * SECOND, 9 * SECOND, 9 * SECOND]
    kinds = [v.kind for v in engine.run([("forward", V4, time) for time in times])]
    assert "".join(kind[0] for kind in kinds) == "dddaadaddda"
    # A clock that goes back fills nothing, nor does it block.
    assert engine.run([("forward", V4, 5 * SECOND), ("forward", V4, 10 * SECOND)])[1].kind == "drop"


def test_counters_go_on_when_rules_are_replaced(engine: Engine) -> None:
    first = r.RuleSet(forward=[r.rule() >> r.count("b") >> r.count("d") >> r.count("a")])
    assert engine.load(r.RuleSet().compile().bytes)
    assert engine.load(first.compile().bytes)
    engine.run([("forward", V4, 0)] * 3)
    second = r.RuleSet(forward=[r.rule() >> r.count("c"), r.rule() >> r.count("d"), r.rule() >> r.count("a")])
    assert engine.load(second.compile().bytes)
    engine.run([("forward", V4, 0)])
    assert engine.counts() == {"a": (4, 240), "c": (1, 60), "d": (4, 240)}


def test_a_refused_program_leaves_the_one_before(engine: Engine) -> None:
    content = r.RuleSet(forward=r.Chain("f", policy=r.drop)).compile().bytes
    assert decides(engine, r.RuleSet(forward=[r.rule() >> r.reject]), V4) == ["reject"]
    assert not engine.load(content[:-1])
    assert not engine.load(content + b"\0")
    assert not engine.load(b"")
    assert [v.kind for v in engine.run([("forward", V4, 0)])] == ["reject"]


def test_the_log_has_the_latest_and_counts_the_lost(engine: Engine) -> None:
    rule_set = r.RuleSet(forward=[r.rule() >> r.log("first") >> r.log("s\u00e9cond")])
    assert engine.load(rule_set.compile().bytes)
    lost = engine.log()[1]
    engine.run([("forward", V4, time) for time in range(1, 7)])
    records, now_lost = engine.log()
    assert [(each.time_ns, each.text) for each in records] == [
        (t, x) for t in (3, 4, 5, 6) for x in ("first", "s\u00e9cond")
    ]
    assert now_lost - lost == 4
    assert {each.key for each in records} == {V4.pack()}
    assert engine.log() == ([], now_lost)


def test_sets_and_maps_change_while_rules_run(engine: Engine) -> None:
    blocked = r.Set("blocked", ["10.1.2.3"])
    six = r.Set("six", [], family=6)
    ports = r.Map("ports", {})
    rule_set = r.RuleSet(
        forward=[r.rule(src=blocked) >> r.drop, r.rule(src=six) >> r.drop, r.rule(dst=blocked) >> r.drop],
        prerouting=[r.rule(proto="tcp") >> r.dnat(ports)],
    )
    program = rule_set.compile()
    assert engine.load(program.bytes)

    def follow(number: int, encode: Callable[[], bytes], is_map: bool) -> Callable[[], None]:
        def push() -> None:
            assert engine.change(number, encode(), is_map=is_map) == 0

        return push

    for named, number, encode in program.named:
        named.loaded(follow(number, encode, named is ports))

    def forward(*packets: Packet) -> str:
        return "".join(v.kind[0] for v in engine.run([("forward", packet, 0) for packet in packets]))

    other = V4.but(src=ip("10.1.2.4"))
    assert forward(V4, other, V6) == "daa"
    blocked.add("10.1.2.4/31")
    six.add("2001:db8::/32")
    assert forward(V4, other, V6) == "ddd"
    blocked.discard("10.1.2.3")
    assert forward(V4, other, V6) == "add"
    blocked.replace(["192.0.2.1"])
    assert forward(V4, other, V4.but(dst=ip("192.0.2.2"))) == "dda"
    ports[80] = "10.9.9.9"
    assert engine.run([("prerouting", V4, 0)])[0] == Verdict("dnat", address="10.9.9.9")
    del ports[80]
    assert engine.run([("prerouting", V4, 0)])[0] == Verdict("accept")
    for wrong, problem in (("::1", "holds addresses of IPv4"), ("10.0.0.300", "is no address")):
        with pytest.raises(ValueError, match=problem):
            blocked.replace([wrong])
    with pytest.raises(ValueError, match="stands twice"):
        ports.replace({80: "10.0.0.1", "70-90": "10.0.0.1"})
    assert list(blocked) == ["192.0.2.1"] and forward(V4) == "d"
    encode = part("program").pack_ranges
    assert engine.change(99, b"") == -2
    assert engine.change(0, encode([(5, 9), (9, 10)], False)) == -22
    assert engine.change(0, b"1234567") == -22


def test_a_row_of_rules_with_what_changes(engine: Engine) -> None:
    """Marks change on the way through a row, and sets while it is in use: a switch knows the latest."""
    marks = r.RuleSet(forward=[r.rule(mark=n) >> r.mark(n + 1) for n in range(20)])
    assert engine.load(marks.compile().bytes)
    assert engine.run([("forward", V4.but(mark=5), 0)]) == [Verdict("accept", 20)]
    sets = [r.Set(f"s{n}", [f"10.0.{n}.0/24"]) for n in range(20)]
    program = r.RuleSet(forward=[r.rule(src=each) >> r.drop for each in sets]).compile()
    assert engine.load(program.bytes)
    assert [v.kind for v in engine.run([("forward", V4, 0)])] == ["accept"]
    named, number, encode = program.named[7]
    named.loaded(lambda: engine.change(number, encode()))
    named.add("10.1.2.0/24")
    assert [v.kind for v in engine.run([("forward", V4, 0)])] == ["drop"]


RULE = r"chain 'forward', rule 2: .*: "


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (lambda: r.rule(dport=80) >> r.accept, "dport needs proto='tcp', proto='udp' or both in its rule"),
        (lambda: r.rule(proto="gre", sport=80) >> r.accept, "sport needs proto="),
        (lambda: r.rule(proto=r.not_("tcp"), sport=80) >> r.accept, "sport needs proto="),
        (lambda: r.rule(icmp=8) >> r.accept, "icmp needs proto='icmp' or proto='icmpv6' in its rule"),
        (lambda: r.rule(proto="udp", flags="syn") >> r.accept, "flags needs proto='tcp'"),
        (lambda: r.rule(colour=1) >> r.accept, "'colour' is no condition; right are dport, dscp"),
        (lambda: r.rule(src="10.0.0.1/8") >> r.accept, "src: '10.0.0.1/8' has bits behind its prefix; right is '10.0.0.0/8'"),
        (lambda: r.rule(src="2001:db8::1/32") >> r.accept, "right is '2001:db8:0:0:0:0:0:0/32'"),
        (lambda: r.rule(src="10.0.0.1/33") >> r.accept, "a prefix of this family has 0 to 32 bits"),
        (lambda: r.rule(src="10.0.0.256") >> r.accept, "'10.0.0.256' is no address; right are '192.0.2.1'"),
        (lambda: r.rule(src="10.0.0.01") >> r.accept, "is no address"),
        (lambda: r.rule(src="1::2::3") >> r.accept, "is no address"),
        (lambda: r.rule(src="1:2:3:4:5:6:7::8") >> r.accept, "is no address"),
        (lambda: r.rule(src="host.example") >> r.accept, "is no address"),
        (lambda: r.rule(src=5) >> r.accept, "5 is no address"),
        (lambda: r.rule(src="10.0.0.9-10.0.0.1") >> r.accept, "ends below its beginning"),
        (lambda: r.rule(src="10.0.0.9-::1") >> r.accept, "from one family of addresses to the other"),
        (lambda: r.rule(src=["10.0.0.9", "::1"]) >> r.accept, "a rule is about one family: write two"),
        (lambda: r.rule(src="10.0.0.9", dst="::1") >> r.accept, "dst is IPv6, src is IPv4; a rule is about one family"),
        (lambda: r.rule(src="::1", proto="icmp") >> r.accept, "proto='icmp' is IPv4, src is IPv6"),
        (lambda: r.rule(src="::1", family=4) >> r.accept, "family is IPv4, src is IPv6"),
        (lambda: r.rule(src=[]) >> r.accept, "src: there is nothing in it"),
        (lambda: r.rule(src=[r.Set("a", ["10.0.0.1"])]) >> r.accept, "does not stand in a list"),
        (lambda: r.rule(src=[r.not_("10.0.0.1")]) >> r.accept, r"not_\(\[...\]\) is right"),
        (lambda: r.rule(src=r.Set("a", [])) >> r.accept, "its family is to be 4 or 6"),
        (lambda: r.rule(src=r.Set("a\n", [])) >> r.accept, "is no name of a set"),
        (lambda: r.rule(mark=r.Set("a", [1]), vlan=r.Set("a", [1])) >> r.accept, "two sets have the name 'a'"),
        (lambda: r.rule(state="nw") >> r.accept, "state: 'nw' is no state; right: established, invalid, new, related, untracked"),
        (lambda: r.rule(state=1) >> r.accept, "1 is no state"),
        (lambda: r.rule(proto="tpc") >> r.accept, "'tpc' is no protocol; right: ah, esp, gre, icmp, .*, 0 to 255, 'a-b'"),
        (lambda: r.rule(proto="icmp", icmp="ping") >> r.accept, "'ping' is no type of ICMP"),
        (lambda: r.rule(proto="tcp", dport=65536) >> r.accept, "dport: 65536 is no port; right: 0 to 65535, 'a-b'"),
        (lambda: r.rule(proto="tcp", dport=True) >> r.accept, "True is no port"),
        (lambda: r.rule(proto="tcp", dport="90-80") >> r.accept, "ends below its beginning"),
        (lambda: r.rule(proto="tcp", flags="syn syn") >> r.accept, "each once"),
        (lambda: r.rule(proto="tcp", flags="") >> r.accept, "names no flag"),
        (lambda: r.rule(in_="dmz") >> r.accept, "'dmz' is no card; right: this, wan, 0 to 254"),
        (lambda: r.rule(smac="52-54-00-00-00-01") >> r.accept, "is no MAC; right is '52:54:00:12:34:56'"),
        (lambda: r.rule(family=5) >> r.accept, "right are 4 and 6"),
        (lambda: r.rule(fragment="some") >> r.accept, "right: first, later, whole"),
        (r.rule, r"it does nothing; right is rule\(...\) >> accept"),
        (lambda: r.rule() >> 5, "5 is no action; right are accept"),
        (lambda: r.rule() >> r.accept >> r.count("x"), "nothing can follow accept"),
        (lambda: r.rule() >> r.log(""), "'' is no text; right are 1 to 47 bytes"),
        (lambda: r.rule() >> r.log("x" * 48), "is no text"),
        (lambda: r.rule() >> r.count("a\nb"), "is no name of a counter"),
        (lambda: r.rule() >> r.mark(-1), "-1 is no mark; right: 0 to 4294967295"),
        (lambda: r.rule() >> r.limit() >> r.drop, "limit takes one of per_s, per_min and per_h"),
        (lambda: r.rule() >> r.limit(per_s=0) >> r.drop, "per_s is to be a whole number from 1"),
        (lambda: r.rule() >> r.limit(per_s=1, burst=0) >> r.drop, "burst is to be 1 to 65536"),
        (lambda: r.rule() >> r.reject("softly"), "'softly' is no way to reject; right: port-unreachable"),
        (lambda: r.rule() >> r.reject("tcp-reset"), "needs proto='tcp'"),
        (lambda: r.rule() >> r.dnat("10.0.0.1"), "dnat is for prerouting, and this is forward"),
        (lambda: r.rule() >> r.masquerade, "masquerade is for postrouting, and this is forward"),
        (lambda: r.rule() >> r.jump("nowhere"), "there is no chain 'nowhere'; right: other"),
        (lambda: "drop all", "is no rule; right is rule"),
    ],
)  # fmt: skip
def test_errors_name_the_rule(rule: Callable[[], Any], problem: str) -> None:
    bad = rule()
    rule_set = r.RuleSet(forward=[r.rule() >> r.count("x"), bad], chains={"other": []}, cards={"wan": 0})
    with pytest.raises(r.RuleError, match=RULE + f".*{problem}") as caught:
        rule_set.compile()
    assert (caught.value.chain, caught.value.number, caught.value.text) == ("forward", 2, repr(bad))


@pytest.mark.parametrize(
    ("hooks", "problem"),
    [
        ({"input": [r.rule(out=1) >> r.drop]}, "out is for forward and postrouting, and this is input"),
        ({"prerouting": [r.rule() >> r.reject]}, "reject is for input and forward, and this is prerouting"),
        ({"prerouting": [r.rule() >> r.dnat("::1")]}, "there is no address translation for IPv6"),
        ({"prerouting": [r.rule() >> r.dnat("10.0.0.1", 80)]}, "dnat with a port needs proto="),
        ({"prerouting": [r.rule() >> r.dnat(r.Map("m", {}))]}, "dnat with a port needs proto="),
        ({"prerouting": [r.rule(src="::1") >> r.dnat("10.0.0.1")]}, "dnat is IPv4, src is IPv6"),
        ({"prerouting": [r.rule(proto="tcp") >> r.dnat(r.Map("m", {"80-90": "10.0.0.1", 85: "10.0.0.1"}))]}, "port 85 stands twice"),
        ({"prerouting": [r.rule(proto="tcp") >> r.dnat("10.0.0.1", "80")]}, "'80' is no port"),
        ({"postrouting": [r.rule(proto="tcp") >> r.snat(r.Map("m", {}))]}, "is for dnat alone"),
        ({"forward": [r.rule() >> r.jump("a")], "chains": {"a": [r.rule() >> r.dnat("10.0.0.1")]}}, "chain 'a', rule 1: .* this is forward"),
        ({"forward": [r.rule() >> r.jump("a")], "chains": {"a": [r.rule() >> r.jump("a")]}}, "jumps go round: a -> a"),
        ({"chains": {"a": [r.rule() >> r.jump("b")], "b": [r.rule() >> r.jump("a")]}}, "chain 'b', rule 1: .*jumps go round: a -> b -> a"),
        ({"chains": {"forward": []}}, "chain 'forward': is the name of a hook"),
        ({"chains": [r.Chain("a", policy=r.drop)]}, "chain 'a': a chain that is jumped to has no policy"),
        ({"forward": r.Chain("f", policy=r.reject)}, "chain 'forward': its policy is to be accept or drop"),
        ({"forward": [r.rule(src=r.Set("a", ["10.0.0.1"])) >> r.drop, r.rule(proto="tcp", sport=r.Set("a", [1])) >> r.drop]}, "two sets have the name 'a'"),
    ],
)  # fmt: skip
def test_errors_of_the_whole(hooks: dict[str, Any], problem: str) -> None:
    with pytest.raises(r.RuleError, match=problem):
        r.RuleSet(**hooks).compile()


def test_one_set_is_not_of_two_kinds() -> None:
    both = r.Set("both", [1])
    with pytest.raises(r.RuleError, match="'both' holds values of another kind: vlan"):
        r.RuleSet(forward=[r.rule(mark=both, vlan=both) >> r.drop]).compile()


def test_how_deep_and_how_long(engine: Engine) -> None:
    chains = {str(i): [r.rule() >> r.jump(str(i + 1))] for i in range(14)} | {"14": [r.rule() >> r.drop]}
    rule_set = r.RuleSet(forward=[r.rule() >> r.jump("0")], chains=chains)
    assert decides(engine, rule_set, V4) == ["drop"]
    with pytest.raises(r.RuleError, match="jumps go deeper than 16 chains"):
        r.RuleSet(forward=[r.rule() >> r.jump("x")], chains=chains | {"x": [r.rule() >> r.jump("0")]}).compile()
    twice = {str(i): [r.rule() >> r.jump(str(i + 1))] * 4 for i in range(10)} | {"10": [r.rule() >> r.count("x")]}
    with pytest.raises(r.RuleError, match=r"one packet may need \d+ steps, 1048576 at most"):
        r.RuleSet(forward=[r.rule() >> r.jump("0")], chains=twice).compile()


def test_many_rules(engine: Engine) -> None:
    many = [r.rule(src=f"10.{i >> 8}.{i & 255}.0/24", proto="tcp", dport=i + 1) >> r.drop for i in range(2000)]
    rule_set = r.RuleSet(forward=many)
    asked = [V4.but(src=ip(f"10.{i >> 8}.{i & 255}.7"), dport=i + 1) for i in (0, 1, 999, 1999)]
    assert decides(engine, rule_set, *asked, V4.but(dport=1)) == ["drop"] * 4 + ["accept"]


def test_addresses_are_read_as_others_read_them() -> None:
    address = part("values").address
    for text in ("::", "1::", "::1", "1:2::7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "0.0.0.0", "1.2.3.4",
                 "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "FE80::aBcd"):  # fmt: skip
        known = ipaddress.ip_address(text)
        assert address(text) == (known.version, int(known))
        assert address(part("values").shown(*address(text))) == address(text)
    for text in ("", ":", ":::", "1:", ":1", "1:2", "1.2.3", "1.2.3.4.5", "1.2.3.-4", "1.2.3.4 ", "::1.2.3", "1.2.3.4::", "12345::",
                 "::g", "1:2:3:4:5:6:7:8:9", "::1%eth0", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.+4", "::1::"):  # fmt: skip
        with pytest.raises(ValueError, match="is no address"):
            address(text)


def test_what_a_rule_says_of_itself() -> None:
    one = (
        r.rule(dport=80, proto="tcp", src=r.not_("10.0.0.0/8"))
        >> r.limit(per_s=2)
        >> r.log("x")
        >> r.reject("tcp-reset")
    )
    text = "rule(src=not_('10.0.0.0/8'), proto='tcp', dport=80) >> limit(per_s=2, burst=5) >> log('x') >> reject('tcp-reset')"
    assert repr(one) == text
    assert repr(eval(text, vars(rules))) == text  # what it says is the language itself


def test_both_sides_have_the_same_numbers() -> None:
    from tests.support.fixtures import REPO

    header = (REPO / "modules/packet/packetprogram.h").read_text()
    program, compiler = part("program"), part("compiler")

    def enumerated(prefix: str) -> list[str]:
        found = [name for name in re.findall(rf"^    PACKET_{prefix}_(\w+),", header, re.MULTILINE) if name != "END"]
        return [name for name in found if name != "NARROW"]

    fields = enumerated("F")
    fields.insert(18, "SRC6")
    assert [getattr(program.F, name) for name in fields] == list(range(21))
    operations = ["SET_MARK" if name == "MARK" else name for name in enumerated("OP")]
    assert [getattr(program.Op, name) for name in operations] == list(range(16))
    for name in ("MAGIC", "VERSION", "DEPTH", "STEPS", "SIZE", "TEXT", "BURST"):
        value = re.search(rf"PACKET_PROGRAM_{name} = ([^,/]+),", header)
        assert value is not None and eval(value[1]) == getattr(program, name)
    assert program.HOOKS == HOOKS
    kinds = re.findall(r"PACKET_REJECT_([A-Z]+)\b", header.split("enum { PACKET_REJECT_PORT")[1].split("}")[0])
    assert [kind.split("-")[0 if kind != "tcp-reset" else 1].upper() for kind in compiler.REJECTS] == ["PORT", *kinds]
