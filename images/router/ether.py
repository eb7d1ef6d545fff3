# SPDX-License-Identifier: MIT
"""Frames of a link: UDP over IPv4, ARP and ICMPv6, taken apart and made. Addresses of IPv4 are numbers, others bytes.

What comes was made by anybody: each length is checked before it is believed.
"""

import struct

from _link import checksum

BROADCAST = b"\xff\xff\xff\xff\xff\xff"
ALL_NODES = b"\xff\2" + bytes(13) + b"\1"
ETH = 14
_IP4 = 0x0800
_ARP = 0x0806
_IP6 = 0x86DD
_UDP = 17
_ICMP6 = 58
_HOPS = 64


def ip4_text(number: int) -> str:
    return "%d.%d.%d.%d" % (number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255)


def mac_text(mac: bytes) -> str:
    return ":".join(["%02x" % byte for byte in mac])


def kind(frame: bytes) -> int:
    """The EtherType."""
    return frame[12] << 8 | frame[13] if len(frame) >= ETH else 0


class Datagram:
    """One of UDP: the MAC address of who sent the frame, both ends, and what is in it. The checksum of UDP is not
    looked at: where the host made the frame itself it is not there yet."""

    def __init__(self, frame: bytes) -> None:
        """Raises ValueError."""
        if kind(frame) != _IP4 or len(frame) < ETH + 28:
            raise ValueError("no UDP")
        head = (frame[ETH] & 15) * 4
        total = frame[ETH + 2] << 8 | frame[ETH + 3]
        at = ETH + head
        if frame[ETH] >> 4 != 4 or head < 20 or frame[ETH + 9] != _UDP or total > len(frame) - ETH:
            raise ValueError("no UDP")
        if at + 8 > ETH + total or checksum(frame[ETH:at]):
            raise ValueError("a broken header")
        self.mac = frame[6:12]
        self.source, self.target = struct.unpack_from(">II", frame, ETH + 12)
        self.port, _, size = struct.unpack_from(">HHH", frame, at)
        if not 8 <= size <= ETH + total - at:
            raise ValueError("cut off")
        self.data = frame[at + 8 : at + size]


def datagram(macs: tuple, ends: tuple, ports: tuple, data: bytes) -> bytes:
    """A frame. macs, ends, ports: each of the sender and of the receiver."""
    size = 8 + len(data)
    pseudo = struct.pack(">IIBBH", ends[0], ends[1], 0, _UDP, size)
    udp = struct.pack(">HHHH", ports[0], ports[1], size, 0)
    udp = udp[:6] + (checksum(pseudo + udp + data) or 0xFFFF).to_bytes(2, "big")
    head = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + size, 0, 0x4000, _HOPS, _UDP, 0, ends[0], ends[1])
    head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    return b"".join((macs[1], macs[0], b"\x08\x00", head, udp, data))


def arp_request(mac: bytes, asked: int) -> bytes:
    """Who has it? In the name of nobody: a probe (RFC 5227), which changes nobody's table."""
    head = struct.pack(">HHHBBH", _ARP, 1, _IP4, 6, 4, 1)
    return BROADCAST + mac + head + mac + bytes(4) + bytes(6) + struct.pack(">I", asked) + bytes(18)


def arp_reply(frame: bytes) -> tuple | None:
    """(address, MAC address) of who says it has it; None: that is not what the frame says."""
    if len(frame) < ETH + 28 or frame[12:22] != b"\x08\x06\0\1\x08\0\6\4\0\2":
        return None
    return struct.unpack_from(">I", frame, ETH + 14)[0], frame[ETH + 8 : ETH + 14]


class Solicitation:
    """Who asks for a router (RFC 4861, 6.1.1). `address` is all zeros where it has none yet."""

    def __init__(self, frame: bytes) -> None:
        """Raises ValueError."""
        if kind(frame) != _IP6 or len(frame) < ETH + 48 or frame[ETH] >> 4 != 6 or frame[ETH + 6] != _ICMP6:
            raise ValueError("no solicitation")
        size = frame[ETH + 4] << 8 | frame[ETH + 5]
        self.address = frame[ETH + 8 : ETH + 24]
        message = frame[ETH + 40 : ETH + 40 + size]
        if frame[ETH + 7] != 255 or len(message) != size or size < 8 or message[:2] != b"\x85\0":
            raise ValueError("no solicitation")
        if checksum(_pseudo6(frame[ETH + 8 : ETH + 40], size) + message):
            raise ValueError("a wrong checksum")
        self.mac = frame[6:12]
        at = 8
        while at < size:
            length = message[at + 1] * 8 if at + 1 < size else 0
            if not length or at + length > size:
                raise ValueError("options do not fit")
            if message[at] == 1:  # source link-layer address
                if not any(self.address):
                    raise ValueError("a link-layer address of nobody")
                self.mac = message[at + 2 : at + 8]
            at += length


def icmp6(macs: tuple, ends: bytes, message: bytes) -> bytes:
    """A frame with hop limit 255. ends: source and destination, 32 bytes; the message's checksum is 0."""
    size = len(message)
    message = message[:2] + checksum(_pseudo6(ends, size) + message).to_bytes(2, "big") + message[4:]
    head = struct.pack(">IHBB", 0x60000000, size, _ICMP6, 255)
    return b"".join((macs[1], macs[0], b"\x86\xdd", head, ends, message))


def _pseudo6(ends: bytes, size: int) -> bytes:
    return ends + struct.pack(">IBBBB", size, 0, 0, 0, _ICMP6)
