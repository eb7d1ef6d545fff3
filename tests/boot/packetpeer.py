# SPDX-License-Identifier: MIT
"""What a host beside a router does, in sockets of its own: pings, packets of scapy, and what comes back."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

ALL = 3  # ETH_P_ALL


def ping(address: str, size: int = 56, timeout_s: float = 5.0) -> bool:
    """Whether an echo of so many bytes comes back."""
    data = os.urandom(size)
    v6 = ":" in address
    proto = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, proto) as sock:
        request = ICMPv6EchoRequest(id=7, data=data) if v6 else ICMP(id=7) / Raw(data)
        if v6:
            request.cksum = 0  # the kernel's to fill in
        sock.sendto(bytes(request), (address, 0))
        end = time.monotonic() + timeout_s
        while select.select([sock], [], [], max(0.0, end - time.monotonic()))[0]:
            said, who = sock.recvfrom(65535)
            reply = ICMPv6EchoReply(said) if v6 else IP(said)[ICMP]
            if who[0] == address and reply.type == (129 if v6 else 0) and bytes(reply).endswith(data):
                return True
    return False


def exchange(
    device: str, frames: list[Packet], wanted: Callable[[Packet], bool], timeout_s: float = 5.0
) -> Packet | None:
    """Send frames out of a device; the first frame that comes in after that and is wanted."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as sock:
        sock.bind((device, ALL))
        for frame in frames:
            sock.send(bytes(frame))
        end = time.monotonic() + timeout_s
        while select.select([sock], [], [], max(0.0, end - time.monotonic()))[0]:
            data, (_, _, direction, *_) = sock.recvfrom(65535)
            frame = Ether(data)
            if direction != socket.PACKET_OUTGOING and (IP in frame or IPv6 in frame) and wanted(frame):
                return frame
    return None


def hardware(device: str) -> str:
    """A device's MAC address."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((device, 0))
        return bytes(sock.getsockname()[4]).hex(":")
