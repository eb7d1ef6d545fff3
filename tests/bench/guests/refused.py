# SPDX-License-Identifier: MIT
"""Rules that a packet is asked about before it may pass, none of which holds for the load of tests/bench/packet.py; for
guest_router.py and, as text, for nft."""

FIRST_PORT = 20000


def refused(count):
    """`count` of (word, value, proto, port or ports): half of them networks that something comes from, then hosts and
    ports of TCP, then ports of UDP."""
    out = []
    for i in range(count):
        if i < count // 2:
            out.append(("src", f"172.{16 + i // 256}.{i % 256}.0/24", None, None))
        elif i < count * 4 // 5:
            out.append(("dst", f"10.9.{i // 250}.{i % 250}", "tcp", str(1 + i % 1000)))
        else:
            out.append((None, None, "udp", f"{FIRST_PORT + 10 * i}-{FIRST_PORT + 10 * i + 7}"))
    return out
