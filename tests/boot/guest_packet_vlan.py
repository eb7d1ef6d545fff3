# SPDX-License-Identifier: MIT
"""One of two routers that have VLAN 7 of a link between them. Arguments: the link's card, addresses on the VLAN, and what is
behind the other router."""

import sys

import packet
from packet import RuleSet, count, rule

card, ip, ip6, behind, behind6, other, other6 = sys.argv[1:]
number = packet.vlan(int(card), 7, ip=ip, ip6=ip6)
assert number == 2
packet.load(
    RuleSet(
        cards={"vlan": number},
        forward=[rule(vlan=7) >> count("tagged"), rule(in_="vlan") >> count("came"), rule(out="vlan") >> count("left")],
    )
)
packet.route.add(behind, via=other)
packet.route.add(behind6, via=other6)
packet.forward()
for wrong, tag in ((9, 1), (0, 0), (0, 4095), (int(card), 7)):
    try:
        packet.vlan(wrong, tag)
    except (OSError, ValueError) as e:
        print("refused", type(e).__name__, e.args[0])
print("forwarding")
for line in sys.stdin:
    what = line.strip()
    if what == "counters":
        print("counters", packet.counters(), "end")
    elif what == "routes":
        print("routes", packet.routes(), "end")
    elif what == "rules":
        print("rules", packet.rule_counters(), "end")
    elif what == "stop":
        break
