# SPDX-License-Identifier: MIT
"""A machine that keeps track of flows, and its copy."""

import os
import socket
import time

import packet

HOST = ("10.0.2.2", 9)
PROBE, FIRST, COUNT = 4000, 4001, 20


def bound(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    return s


def packets(port):
    """Of each flow from this port."""
    return [flow["packets"] for flow in packet.flows() if flow["src"][1] == port]


def reach():
    """Until the router's hardware address is known: before, what is sent waits for it, and some is dropped."""
    before = sum(packets(PROBE))
    while sum(packets(PROBE)) == before:
        probe.sendto(b"x", HOST)
        time.sleep_ms(20)


def send_all():
    reach()
    for s in socks:
        s.sendto(b"x", HOST)


packet.track(1024)
packet.forward()
probe, socks = bound(PROBE), [bound(FIRST + n) for n in range(COUNT)]
send_all()
send_all()
pid = os.fork()
send_all()
counts = [packets(FIRST + n) for n in range(COUNT)]
print("child" if pid == 0 else "parent", counts == [[3]] * COUNT or counts)
if pid != 0:
    print("status", os.waitpid(pid, 0)[1])
