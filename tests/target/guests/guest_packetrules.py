# SPDX-License-Identifier: MIT
"""Rules compiled, and what is said of bad ones; in a VM also loaded, asked and changed."""

import sys
from binascii import crc32

from packet import (
    Chain,
    Map,
    RuleError,
    RuleSet,
    Set,
    accept,
    count,
    dnat,
    drop,
    jump,
    limit,
    log,
    mark,
    masquerade,
    not_,
    reject,
    ret,
    rule,
    snat,
)

blocked = Set("blocked", ["203.0.113.0/24", "10.0.0.1-10.0.0.9"])
six = Set("six", [], family=6)
web = Map("web", {80: "10.0.0.5", "8000-8010": ("10.0.0.6", 80)})

full = RuleSet(
    cards={"wan": 0, "lan": 1},
    prerouting=[
        rule(in_="wan", proto="tcp") >> dnat(web),
        rule(proto=["tcp", "udp"], dport=53) >> dnat("10.0.0.7", 5353),
    ],
    input=[rule(proto="icmpv6", icmp=["echo-request", 133]) >> limit(per_min=7, burst=2) >> accept],
    forward=Chain(
        "forward",
        policy=drop,
        rules=[
            rule(state=["established", "related"]) >> count("old") >> accept,
            rule(src=blocked) >> log("blocked") >> drop,
            rule(dst=six) >> drop,
            rule(src=not_("2001:db8::/32"), dst=["2001:db8::1", "fe80::-fe80::ffff"]) >> reject("admin-prohibited"),
            rule(proto="tcp", flags="syn !ack", dport=not_([1, "5-9"])) >> jump("new"),
            rule(smac="52:54:00:12:34:56", dscp="ef", ttl="0-1", fragment=True, vlan=7) >> drop,
        ],
    ),
    postrouting=[rule(out="wan", src="10.0.0.0/8") >> masquerade, rule(mark=9) >> snat("192.0.2.1")],
    chains={"new": [rule(mark=0xFFFFFFFF) >> ret, rule(length="0-99") >> mark(9) >> count("new")]},
)
many = RuleSet(
    forward=[rule(src="10.%d.%d.0/24" % (i >> 8, i & 255), proto="udp", dport=i + 1) >> drop for i in range(300)]
)

for rules in (RuleSet(), full, many):
    content = rules.compile().bytes
    print("program", len(content), crc32(content))

for bad in (
    rule(src="10.0.0.1/8") >> accept,
    rule(src="::1", dst="10.0.0.1", dport=5) >> accept,
    rule(colour="red", taste=1) >> accept,
    rule(proto="tcp", dport=[80, 65536]) >> log("x") >> drop,
    rule() >> 5,
):
    try:
        RuleSet(forward=[bad]).compile()
    except RuleError as e:
        print("error", e)

if sys.implementation.name == "micropython":
    import _packetrules
    from packet import load, rule_counters, rule_log, rule_log_lost, unload

    for wrong in (b"", full.compile().bytes[:-1], bytes(1000)):
        try:
            _packetrules.load(wrong)
        except ValueError as e:
            print("refused", e)
    load(full)
    print(sorted(rule_counters().items()), rule_log(), rule_log_lost())
    blocked.add("192.0.2.0/24")
    six.replace(["::1"])
    web["9000-9001"] = "10.0.0.8"
    try:
        blocked.add("192.0.2.1/24")
    except ValueError as e:
        print("changed not", e)
    print(len(list(blocked)))
    load(many)
    blocked.discard("192.0.2.0/24")
    for _ in range(50):  # memory comes back
        load(many)
        load(full)
        blocked.add("192.0.2.0/24")
        blocked.discard("192.0.2.0/24")
    unload()
    print(rule_counters())
print("the end")
