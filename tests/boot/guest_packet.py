# SPDX-License-Identifier: MIT
"""A router between two cards; a network behind the host of the second one."""

import sys

import packet

packet.forward()
packet.route.add("10.3.0.0/16", via="10.2.0.2")
packet.route.add("2001:db8:3::/48", via="2001:db8:2::2")
print("forwarding")
for line in sys.stdin:
    what = line.strip()
    if what == "counters":
        print("counters", packet.counters(), "end")
    elif what == "routes":
        print("routes", packet.routes(), "end")
    elif what == "stop":
        break
