# SPDX-License-Identifier: MIT
"""A bridge between two cards, with an address of its own; some of what it passes on is counted, and some is not passed."""

import sys

import packet
from packet import RuleSet, count, drop, rule

own = packet.bridge([0, 1], filter=True, ip="10.1.0.1/24", ip6="2001:db8:1::1")
assert own == 2
packet.load(
    RuleSet(
        forward=[
            rule(in_=0, out=1, proto="tcp") >> count("across"),
            rule(proto="udp", dport=7) >> drop,
        ]
    )
)
for cards in ([0], [0, 1], [0, 7], [2]):
    try:
        packet.bridge(cards)
    except (OSError, ValueError) as e:
        print("refused", cards, type(e).__name__)
print("forwarding")
for line in sys.stdin:
    what = line.strip()
    if what == "counters":
        print("counters", packet.counters(), "end")
    elif what == "rules":
        print("rules", packet.rule_counters(), "end")
    elif what == "stop":
        break
