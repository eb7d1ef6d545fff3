# SPDX-License-Identifier: MIT
"""A router from card 0 to card 1, behind the address of card 1, with as many rules more as REFUSED says, before the
one for what is established, or behind it. When it is asked it says how many flows there are, or its counters, or
computes for some seconds: rules are made again, which is much Python without a pause."""

import os
import sys
import time

import packet
from packet import Chain, RuleSet, accept, drop, masquerade, rule
from refused import refused


def made(word, value, proto, port):
    conditions = {}
    if word:
        conditions[word] = value
    if proto:
        conditions["proto"] = proto
        conditions["dport"] = port
    return rule(**conditions) >> drop


def rule_set(count, behind):
    rules = [made(*each) for each in refused(count)]
    rules.insert(0 if behind else len(rules), rule(state=["established", "related"]) >> accept)
    rules.append(rule(in_="lan") >> accept)
    return RuleSet(
        cards={"lan": 0, "wan": 1},
        forward=Chain("forward", policy=drop, rules=rules),
        postrouting=[rule(out="wan") >> masquerade],
    )


packet.track(int(os.getenv("FLOWS") or 0))
packet.load(rule_set(int(os.getenv("REFUSED") or 0), os.getenv("BEHIND") == "yes"))
packet.forward()
print("forwarding")
for line in sys.stdin:
    if line.strip() == "flows":
        print(sum(1 for _ in packet.flows()), "flows end")
    elif line.strip() == "counters":
        print(packet.counters(), "counters end")
    elif line.strip() == "compute":
        start, times = time.ticks_ms(), 0
        while time.ticks_diff(time.ticks_ms(), start) < 6000:
            rule_set(50, False).compile()
            times += 1
        print(times, "compute end")
