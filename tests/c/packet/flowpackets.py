# SPDX-License-Identifier: MIT
"""Packets for the tests of flows, written and read whole: every checksum is a sum over all the bytes it covers."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2}


def ones_sum(data: bytes) -> int:
    """Ones' complement sum of 16-bit words (RFC 1071), not complemented."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(src: str, dst: str, proto: int, size: int) -> bytes:
    a, b = ip_address(src).packed, ip_address(dst).packed
    if len(a) == 4:
        return a + b + struct.pack(">BBH", 0, proto, size)
    return a + b + struct.pack(">IHBB", size, 0, 0, proto)


def summed(src: str, dst: str, proto: int, body: bytes) -> bytes:
    """The body with its checksum filled in."""
    at = CHECKSUM_AT.get(proto)
    if at is None:
        return body
    head = b"" if proto == ICMP else pseudo(src, dst, proto, len(body))
    value = 0xFFFF - ones_sum(head + body[:at] + b"\0\0" + body[at + 2 :])
    if proto == UDP and value == 0:
        value = 0xFFFF
    return body[:at] + struct.pack(">H", value) + body[at + 2 :]


def ip4(src: str, dst: str, proto: int, body: bytes, **more: int) -> bytes:
    """more: id, place (flags and offset), ttl. The body is taken as it is."""
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), more.get("id", 0), more.get("place", 0), more.get("ttl", 64), proto, 0,
        IPv4Address(src).packed, IPv4Address(dst).packed,
    )  # fmt: skip
    return head[:10] + struct.pack(">H", 0xFFFF - ones_sum(head)) + head[12:] + body


def ip6(src: str, dst: str, proto: int, body: bytes) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(body), proto, 64)
    return head + IPv6Address(src).packed + IPv6Address(dst).packed + body


def ip(src: str, dst: str, proto: int, body: bytes) -> bytes:
    body = summed(src, dst, proto, body)
    return ip6(src, dst, proto, body) if ":" in src else ip4(src, dst, proto, body)


def udp(src: str, sport: int, dst: str, dport: int, data: bytes = b"data") -> bytes:
    return ip(src, dst, UDP, struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data)


def tcp(src: str, sport: int, dst: str, dport: int, flags: int, **more: int) -> bytes:
    """more: seq, ack, window, size (of data), scale (of the window; -1: no option)."""
    scale = more.get("scale", -1)
    options = bytes([1, 3, 3, scale]) if scale >= 0 else b""
    head = struct.pack(
        ">HHIIBBHHH", sport, dport, more.get("seq", 0) % 2**32, more.get("ack", 0) % 2**32, (5 + len(options) // 4) << 4,
        flags, more.get("window", 65535), 0, 0,
    )  # fmt: skip
    return ip(src, dst, TCP, head + options + b"x" * more.get("size", 0))


def echo(src: str, dst: str, ident: int, *, reply: bool = False, data: bytes = b"ping") -> bytes:
    six = ":" in src
    kind = (129 if reply else 128) if six else (0 if reply else 8)
    return ip(src, dst, ICMP6 if six else ICMP, struct.pack(">BBHHH", kind, 0, 0, ident, 1) + data)


def icmp_error(src: str, dst: str, quoted: bytes, *, kind: int | None = None, room: int = 28) -> bytes:
    """An error about a packet, of which it quotes `room` bytes behind 40 of IPv6's header or from the first on."""
    six = ":" in src
    kind = kind if kind is not None else (1 if six else 3)
    return ip(src, dst, ICMP6 if six else ICMP, struct.pack(">BBHI", kind, 1, 0, 0) + quoted[: room + 20 * six])


def fragments(packet: bytes, *sizes: int, ident: int = 7) -> list[bytes]:
    """Cut an IPv4 or IPv6 packet; sizes of the pieces but for the last, in bytes, multiples of 8."""
    six = packet[0] >> 4 == 6
    head, body, found, at = (packet[:40], packet[40:], [], 0) if six else (packet[:20], packet[20:], [], 0)
    for size in (*sizes, len(body) - sum(sizes)):
        more = int(at + size < len(body))
        piece = body[at : at + size]
        if six:
            extra = struct.pack(">BBHI", head[6], 0, at | more, ident)
            found.append(head[:4] + struct.pack(">HB", len(piece) + 8, 44) + head[7:] + extra + piece)
        else:
            src, dst = str(IPv4Address(head[12:16])), str(IPv4Address(head[16:20]))
            found.append(ip4(src, dst, head[9], piece, id=ident, place=at // 8 | more << 13))
        at += size
    return found
