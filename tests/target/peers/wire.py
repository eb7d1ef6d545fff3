# SPDX-License-Identifier: MIT
"""The other end of a network card `listen:PATH`: a small network of frames, which serves DHCP and DNS as a test likes.

The station is SERVER, 10.9.0.1 and fe80::1, whatever else it pretends to be. Frames are length-prefixed on a UNIX
socket (4 bytes, big endian). Everything happens in one thread; a test reads `seen` and sets the attributes."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.support.sockets import connect_soon, exactly

MAC = bytes.fromhex("52540000fe01")
SERVER = "10.9.0.1"
SERVER6 = "fe80::1"
ARP, IP4, IP6 = 0x0806, 0x0800, 0x86DD
SOLICITATION, ADVERTISEMENT, REDIRECT = 135, 136, 137
DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7

# The replies to a DNS query, by name, type, query and server.
Dns = Callable[[str, int, bytes, str], list[bytes]]


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(source: str, to: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(to))  # fmt: skip
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def udp(source: str, from_port: int, to: str, to_port: int, payload: bytes) -> bytes:
    return ip4(source, to, 17, struct.pack(">HHHH", from_port, to_port, 8 + len(payload), 0) + payload)


def ip6(source: str, to: str, protocol: int, payload: bytes) -> bytes:
    a, b = (socket.inet_pton(socket.AF_INET6, name) for name in (source, to))
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + a + b + payload


def icmp6(source: str, to: str, body: bytes) -> bytes:
    a, b = (socket.inet_pton(socket.AF_INET6, name) for name in (source, to))
    body = body[:2] + struct.pack(">H", checksum(a + b + struct.pack(">II", len(body), 58) + body)) + body[4:]
    return struct.pack(">IHBB", 6 << 28, len(body), 58, 255) + a + b + body


def router_advertisement(prefix: str) -> bytes:
    option = struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 600, 600, 0) + socket.inet_pton(socket.AF_INET6, prefix)
    return icmp6("fe80::1", "ff02::1", struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 600, 0, 0) + option)


def neighbour(kind: int, source: str, to: str, about: str, mac: bytes, flags: int = 0, more: bytes = b"") -> bytes:
    """A solicitation, an advertisement, or a redirect (`more`: for this destination) with a link-layer address."""
    body = struct.pack(">BBHB3x", kind, 0, 0, flags) + socket.inet_pton(socket.AF_INET6, about) + more
    return icmp6(source, to, body + bytes([1 if kind == SOLICITATION else 2, 1]) + mac)


class Wire:
    """`defends`: so many addresses more, of those that a guest tries, are others'.
    `lease`: (address, seconds) or None for a DHCP server that is silent; `nak` refuses what is asked for again.
    `dns(name, type, query, server)`: see Dns. `seen`: (seconds since the start, what)."""

    def __init__(self, path: Path, *, lease: tuple[str, int] | None = None, dns: Dns | None = None) -> None:
        self.path = path
        self.lease, self.dns, self.nak = lease, dns, False
        self.servers: list[str] = []  # that leases name
        self.defends = 0
        self.seen: list[tuple[float, str]] = []
        self.guest_mac = bytes(6)
        self._frames: dict[str, list[bytes]] = {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._start = time.monotonic()

    def __enter__(self) -> Wire:
        connect_soon(self._socket, self.path)  # QEMU makes it
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def said(self, what: str) -> list[float]:
        """When it was seen."""
        return [at for at, text in self.seen if text.startswith(what)]

    def send(self, kind: int, packet: bytes, to: bytes = b"\xff" * 6) -> None:
        frame = (to + MAC + struct.pack(">H", kind) + packet).ljust(60, b"\0")
        with suppress(OSError):
            self._socket.sendall(struct.pack(">I", len(frame)) + frame)

    def _note(self, text: str) -> None:
        self.seen.append((time.monotonic() - self._start, text))

    def _serve(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                (size,) = struct.unpack(">I", exactly(self._socket, 4))
                self._frame(exactly(self._socket, size))

    def _frame(self, frame: bytes) -> None:
        self.guest_mac = frame[6:12]
        (kind,) = struct.unpack_from(">H", frame, 12)
        packet = frame[14:]
        if kind == ARP and packet[7] == 1 and packet[14:18] != packet[24:28]:
            who = socket.inet_ntoa(packet[24:28])
            if who.endswith(".1") or who.endswith(".53"):
                self.send(ARP, packet[:7] + b"\2" + MAC + packet[24:28] + packet[8:18], frame[6:12])
        elif kind == IP6:
            self._note(f"ip6 next {packet[6]} to {ipaddress.IPv6Address(packet[24:40])}")
            if packet[6] == 58:
                self._icmp6(packet[8:24], packet[40:], frame[:6])
        elif kind == IP4 and packet[9] == 2:
            self._note(f"igmp {packet[24]:#x} {socket.inet_ntoa(packet[28:32])}")
        elif kind == IP4 and packet[9] == 17:
            self._udp(packet)

    def _udp(self, packet: bytes) -> None:
        size = (packet[0] & 15) * 4
        from_port, to_port, length = struct.unpack_from(">HHH", packet, size)
        source, to = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        payload = packet[size + 8 : size + length]
        if to_port == 67:
            self._dhcp(payload, source, to)
        elif to_port == 53:
            for reply in self._query(payload, to):
                self.send(IP4, udp(to, 53, source, from_port, reply), self.guest_mac)
        else:
            self._note(f"udp {to}:{to_port} {payload[:32]!r} ttl {packet[8]}")
            if to_port == 7:
                self.send(IP4, udp(to, to_port, source, from_port, payload), self.guest_mac)

    # ---- IPv6 neighbours, RFC 4861 ---------------------------------------------------------------------

    def _icmp6(self, source: bytes, m: bytes, mac: bytes) -> None:
        about = str(ipaddress.IPv6Address(m[8:24])) if m[0] == SOLICITATION else mac.hex(":")
        self._note(f"icmp6 {m[0]} from {ipaddress.IPv6Address(source)}: {about}")
        if m[0] == SOLICITATION and not any(source) and self.defends:
            self.defends -= 1
            self.send(IP6, neighbour(ADVERTISEMENT, about, "ff02::1", about, MAC, 0x20))
        elif m[0] == SOLICITATION and about == SERVER6:
            to = str(ipaddress.IPv6Address(source))
            self.send(IP6, neighbour(ADVERTISEMENT, about, to, about, MAC, 0x60), self.guest_mac)

    # ---- DHCP, RFC 2131 ------------------------------------------------------------------------------

    def _dhcp(self, m: bytes, source: str, to: str) -> None:
        options = _options(m[240:])
        kind = options[53][0]
        names = {DISCOVER: "discover", REQUEST: "request", RELEASE: "release"}
        asked = socket.inet_ntoa(options[50]) if 50 in options else socket.inet_ntoa(m[12:16])
        self._note(f"{names.get(kind, kind)} {asked} from {source} to {to}")
        if kind not in (DISCOVER, REQUEST) or self.lease is None:
            return
        address, seconds = self.lease
        answer = OFFER if kind == DISCOVER else ACK if asked == address and not self.nak else NAK
        body = b"\x02" + m[1:12] + m[12:16] + (bytes(4) if answer == NAK else socket.inet_aton(address))
        body += socket.inet_aton(SERVER) + m[24:236] + m[236:240]
        body += bytes([53, 1, answer, 54, 4]) + socket.inet_aton(SERVER)
        if answer != NAK:
            body += bytes([51, 4]) + struct.pack(">I", seconds) + b"\x01\x04\xff\xff\xff\x00"
            body += b"\x03\x04" + socket.inet_aton(SERVER)
            if self.servers:
                body += bytes([6, 4 * len(self.servers)]) + b"".join(map(socket.inet_aton, self.servers))
        self.send(IP4, udp(SERVER, 67, "255.255.255.255", 68, body + b"\xff"))

    # ---- DNS, RFC 1035 -------------------------------------------------------------------------------

    def _query(self, query: bytes, server: str) -> list[bytes]:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        (kind,) = struct.unpack_from(">H", query, at + 1)
        name = ".".join(labels)
        self._note(f"query {name} {kind} at {server}")
        return self.dns(name, kind, query, server) if self.dns is not None else []


def reply(query: bytes, *records: tuple[int, bytes], flags: int = 0x8180) -> bytes:
    """A DNS reply to `query` with records of (type, data) for its name."""
    end = query.index(b"\0", 12) + 5
    body = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + query[12:end]
    return body + b"".join(struct.pack(">HHHIH", 0xC00C, t, 1, 60, len(data)) + data for t, data in records)


def _options(raw: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(raw) and raw[at] != 255:
        if raw[at]:
            found[raw[at]] = raw[at + 2 : at + 2 + raw[at + 1]]
            at += raw[at + 1] + 1
        at += 1
    return found
