# SPDX-License-Identifier: MIT
"""A firewall between outside, card 0, and servers, card 1, that says of each kind of port another thing; an argument is
how many flows there may be."""

import sys

import packet
from packet import Chain, RuleSet, accept, count, drop, limit, reject, rule

ECHO = {"proto": "icmp", "icmp": "echo-request", "in_": "outside"}
if len(sys.argv) > 1:
    packet.track(int(sys.argv[1]))
packet.load(
    RuleSet(
        cards={"outside": 0, "servers": 1},
        forward=Chain(
            "forward",
            policy=drop,
            rules=[
                rule(proto="tcp", dport=8002) >> accept,  # whatever its state, for replies that go another way
                rule(state="invalid") >> count("invalid") >> drop,
                rule(**ECHO) >> limit(per_s=50, burst=50) >> accept,  # one that repeats is established
                rule(**ECHO) >> count("echo") >> drop,
                rule(state=["established", "related"]) >> accept,
                rule(in_="servers") >> accept,
                rule(proto="tcp", dport=[8000, 8001], state="new") >> count("opened") >> accept,
                rule(proto="udp", dport=[8000, 8001], state="new") >> accept,
                rule(proto="tcp", dport=25) >> reject("tcp-reset"),
                rule(proto=["tcp", "udp"], dport=26) >> reject("admin-prohibited"),
                rule() >> count("refused"),
            ],
        ),
    )
)
packet.forward()
print("forwarding")
for line in sys.stdin:
    what = line.strip()
    if what == "counters":
        print("counters", packet.counters(), "end")
    elif what == "flows":
        print("flows", sum(1 for _ in packet.flows()), "end")
    elif what == "rules":
        print("rules", packet.rule_counters(), "end")
    elif what == "stop":
        break
