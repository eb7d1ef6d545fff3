# SPDX-License-Identifier: MIT
"""A firewall between inside, card 0, and outside, card 1: connections from inside alone, behind one IPv4 address,
but for a port that is forwarded and for ping to the firewall itself."""

import sys

import packet
from packet import Chain, RuleSet, accept, count, dnat, drop, masquerade, reject, rule

packet.load(
    RuleSet(
        cards={"inside": 0, "outside": 1},
        prerouting=[rule(in_="outside", proto="tcp", dport=8080) >> dnat("10.1.0.2", 8000)],
        input=Chain(
            "input",
            policy=drop,
            rules=[
                rule(state=["established", "related"]) >> accept,
                rule(proto=["icmp", "icmpv6"]) >> accept,
            ],
        ),
        forward=Chain(
            "forward",
            policy=drop,
            rules=[
                rule(state=["established", "related"]) >> accept,
                rule(in_="outside", dst="10.1.0.2", proto="tcp", dport=8000) >> count("forwarded") >> accept,
                rule(in_="inside", proto="tcp", dport=25) >> reject("tcp-reset"),
                rule(in_="inside") >> accept,
            ],
        ),
        postrouting=[rule(out="outside", src="10.1.0.0/24") >> masquerade],
    )
)
packet.forward()
print("forwarding")
for line in sys.stdin:
    what = line.strip()
    if what == "counters":
        print("counters", packet.counters(), "end")
    elif what == "flows":
        print("flows", list(packet.flows()), "end")
    elif what == "rules":
        print("rules", packet.rule_counters(), "end")
    elif what == "stop":
        break
