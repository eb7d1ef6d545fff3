# SPDX-License-Identifier: MIT
"""Between the firewall, card 0, the DMZ, card 1, and inside, card 2: who is inside may begin anything, the DMZ may
begin what goes outside, and nobody begins anything with who is inside."""

import sys

import packet
from packet import Chain, RuleSet, accept, count, drop, rule

DMZ, INSIDE = "198.51.100.0/24", "10.30.0.0/24"
HERE = (DMZ, INSIDE, "192.0.2.3")

packet.load(
    RuleSet(
        cards={"between": 0, "dmz": 1, "inside": 2},
        prerouting=[
            rule(in_="between", src=HERE) >> count("spoofed") >> drop,
            rule(in_="dmz", src=[INSIDE, "192.0.2.0/24"]) >> count("spoofed") >> drop,
            rule(in_="inside", src=[DMZ, "192.0.2.0/24"]) >> count("spoofed") >> drop,
        ],
        input=Chain("input", policy=drop, rules=[rule(state=["established", "related"]) >> accept]),
        forward=Chain(
            "forward",
            policy=drop,
            rules=[
                rule(state=["established", "related"]) >> accept,
                rule(in_="inside", src=INSIDE) >> accept,
                rule(in_="between", out="dmz") >> accept,
                rule(in_="dmz", out="between", src=DMZ) >> accept,
                rule() >> count("refused"),
            ],
        ),
    )
)
packet.forward()
print("forwarding")
for _ in sys.stdin:
    print(packet.rule_counters(), packet.counters())
