# SPDX-License-Identifier: MIT
"""A router from card 0 to card 1, behind the address of card 1, with as many rules more as REFUSED says, before the
one for what is established, or behind it. It says how many flows there are, and its counters, when it is asked."""

import os
import sys

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


packet.track(int(os.getenv("FLOWS") or 0))
rules = [made(*each) for each in refused(int(os.getenv("REFUSED") or 0))]
rules.insert(0 if os.getenv("BEHIND") == "yes" else len(rules), rule(state=["established", "related"]) >> accept)
rules.append(rule(in_="lan") >> accept)
packet.load(
    RuleSet(
        cards={"lan": 0, "wan": 1},
        forward=Chain("forward", policy=drop, rules=rules),
        postrouting=[rule(out="wan") >> masquerade],
    )
)
del rules
packet.forward()
print("forwarding")
for line in sys.stdin:
    if line.strip() == "flows":
        print(sum(1 for _ in packet.flows()), "flows end")
    elif line.strip() == "counters":
        print(packet.counters(), "counters end")
