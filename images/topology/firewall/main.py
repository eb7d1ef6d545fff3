# SPDX-License-Identifier: MIT
"""Between outside, card 0, and the router's network, card 1: names and pages of the DMZ may be asked for from outside,
and the answers pass; echo requests do not, in neither direction."""

import sys

import packet
from packet import Chain, RuleSet, accept, count, drop, rule

OURS = ("198.51.100.0/24", "192.0.2.0/24", "10.30.0.0/24")
WEB, NAMES = "198.51.100.80", "198.51.100.53"
ECHO = {"proto": "icmp", "icmp": "echo-request"}
KNOWN = ("established", "related")

packet.load(
    RuleSet(
        cards={"outside": 0, "between": 1},
        prerouting=[rule(in_="outside", src=OURS) >> count("spoofed") >> drop],
        input=Chain("input", policy=drop, rules=[rule(state=KNOWN) >> accept]),
        forward=Chain(
            "forward",
            policy=drop,
            rules=[
                rule(**ECHO) >> count("echo") >> drop,
                rule(state=KNOWN) >> accept,
                rule(in_="outside", dst=WEB, proto="tcp", dport=80, flags="syn !ack", state="new") >> accept,
                rule(in_="outside", dst=NAMES, proto=["tcp", "udp"], dport=53, state="new") >> accept,
                rule(in_="between", src=OURS, state="new") >> accept,
                rule() >> count("refused"),
            ],
        ),
    )
)
for network in ("198.51.100.0/24", "10.30.0.0/24"):
    packet.route.add(network, via="192.0.2.3")
packet.forward()
print("forwarding")
for _ in sys.stdin:
    print(packet.rule_counters(), packet.counters())
