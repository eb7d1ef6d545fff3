# SPDX-License-Identifier: MIT
"""The heads of a packet: a line for people, and what tells that one answers another. Whatever they hold is no error:
frames come from others, and are cut."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

_TYPES = {0x0806: "ARP", 0x0800: "IPv4", 0x86DD: "IPv6", 0x88CC: "LLDP"}
_VLANS = (0x8100, 0x88A8)
_ICMP, _TCP, _UDP, _ICMP6 = 1, 6, 17, 58
_PROTOCOLS = {_ICMP: "ICMP", 2: "IGMP", _TCP: "TCP", _UDP: "UDP", 47: "GRE", 50: "ESP", _ICMP6: "ICMPv6"}
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
_ASKS, _ANSWERS = (8, 128), (0, 129)  # echo, of both versions


@dataclass(frozen=True)
class Head:
    """flow: whose packet it is, None where nobody waits for an answer to its like; asks, answers: it may wait for one,
    or be one. back: the flow of the other way."""

    text: str
    flow: tuple[object, ...] | None = None
    back: tuple[object, ...] | None = None
    asks: bool = False
    answers: bool = False


def read(data: bytes, length: int) -> Head:
    """Of an Ethernet frame of so many bytes, the first of which are here."""
    try:
        kind, at, vlan = _ethernet(data)
        if kind == 0x0806:
            return _arp(data[at:], vlan)
        if kind == 0x0800:
            return _ip4(data[at:], vlan)
        if kind == 0x86DD:
            return _ip6(data[at:], vlan)
        return Head(f"{vlan}{_TYPES.get(kind, f'Ethernet type {kind:#06x}')} {length} bytes")
    except (struct.error, IndexError, ValueError):  # one that is cut: no address, for one
        return Head(f"cut short, {length} bytes")


def _ethernet(data: bytes) -> tuple[int, int, str]:
    """The type of what it carries, where that begins, and its VLANs for people."""
    at, vlan = 12, ""
    (kind,) = struct.unpack_from("!H", data, at)
    while kind in _VLANS:
        tag, kind = struct.unpack_from("!HH", data, at + 2)
        vlan += f"VLAN {tag & 0xFFF} "
        at += 4
    return kind, at + 2, vlan


def _arp(data: bytes, vlan: str) -> Head:
    (operation,) = struct.unpack_from("!H", data, 6)
    if data[2:6] != b"\x08\x00\x06\x04" or len(data) < 28:
        return Head(f"{vlan}ARP")
    sender, target = (str(ipaddress.IPv4Address(data[at : at + 4])) for at in (14, 24))
    if operation == 1:
        return Head(f"{vlan}ARP who has {target}? tell {sender}", ("arp", target), asks=True, back=("arp", sender))
    hardware = data[8:14].hex(":")
    return Head(f"{vlan}ARP {sender} is at {hardware}", ("arp", target), back=("arp", sender), answers=True)


def _ip4(data: bytes, vlan: str) -> Head:
    (total,) = struct.unpack_from("!H", data, 2)
    size, (fragment,) = (data[0] & 15) * 4, struct.unpack_from("!H", data, 6)
    source, target = (str(ipaddress.IPv4Address(data[at : at + 4])) for at in (12, 16))
    if fragment & 0x1FFF:
        return Head(f"{vlan}{_named(data[9])} {source} > {target} a later fragment, {total - size} bytes")
    return _above(data[9], source, target, data[size:], max(0, total - size), vlan)


def _ip6(data: bytes, vlan: str) -> Head:
    (payload,) = struct.unpack_from("!H", data, 4)
    source, target = (str(ipaddress.IPv6Address(data[at : at + 16])) for at in (8, 24))
    return _above(data[6], source, target, data[40:], payload, vlan)


def _above(protocol: int, source: str, target: str, data: bytes, length: int, vlan: str) -> Head:
    if protocol == _TCP:
        return _tcp(source, target, data, length, vlan)
    if protocol == _UDP:
        here, there = struct.unpack_from("!HH", data)
        flow, back = ("udp", source, here, target, there), ("udp", target, there, source, here)
        text = f"{vlan}UDP {_place(source, here)} > {_place(target, there)} {max(0, length - 8)} bytes"
        return Head(text, flow, back, asks=True, answers=True)
    if protocol in (_ICMP, _ICMP6):
        number = struct.unpack_from("!H", data, 4)[0] if data[0] in (*_ASKS, *_ANSWERS) else 0
        text = f"{vlan}{_named(protocol)} {source} > {target} " + (
            "echo request" if data[0] in _ASKS else "echo reply" if data[0] in _ANSWERS else f"type {data[0]}"
        )
        pings, pongs = ("icmp", source, target, number), ("icmp", target, source, number)
        return Head(text, pings, pongs, asks=data[0] in _ASKS, answers=data[0] in _ANSWERS)
    return Head(f"{vlan}{_named(protocol)} {source} > {target} {length} bytes")


def _tcp(source: str, target: str, data: bytes, length: int, vlan: str) -> Head:
    here, there = struct.unpack_from("!HH", data)
    payload = max(0, length - (data[12] >> 4) * 4)
    flags = [name for bit, name in enumerate(_FLAGS) if data[13] & 1 << bit]
    text = f"{vlan}TCP {_place(source, here)} > {_place(target, there)} {' '.join(flags)} {payload} bytes"
    says = payload > 0 or bool({"SYN", "FIN", "RST"} & set(flags))
    flow, back = ("tcp", source, here, target, there), ("tcp", target, there, source, here)
    return Head(text, flow, back, asks=(payload > 0 or flags == ["SYN"]), answers=says)


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _named(protocol: int) -> str:
    return _PROTOCOLS.get(protocol, f"IP protocol {protocol}")
