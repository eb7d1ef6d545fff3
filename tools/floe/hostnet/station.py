# SPDX-License-Identifier: MIT
"""What a network of a stack has at its first address: it answers ARP (RFC 826), echo requests (RFC 792) and names
(names.py), and asks whether a port of a VM's answers. No router: nothing leaves the network here.

Every length in a frame is checked before it is used; what makes no sense is dropped.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from floe.hostnet import names
from floe.hostnet.switch import Network

_ARP, _IP = 0x0806, 0x0800
_ICMP, _TCP, _UDP = 1, 6, 17
_DNS = 53
_ARP_BODY = struct.Struct(">HHBBH6s4s6s4s")
_IP_HEADER = struct.Struct(">BBHHHBBH4s4s")
_TCP_HEADER = struct.Struct(">HHIIBBHHH")
_UDP_HEADER = struct.Struct(">HHHH")
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_TTL = 64
_PROBE_S = 1.0
_AGAIN_S = 0.1  # a probe's next SYN: who does not listen yet may not have seen the one before
_ALL = b"\xff" * 6

Member = tuple[bytes, bytes]  # address and hardware address of a VM's card


@dataclass
class _Probe:
    target: bytes
    port: int
    sequence: int
    deadline: float
    again: float
    tell: Callable[[bool], None]


class Gateway:
    """The switch's own station on one network."""

    def __init__(self, network: Network, address: str) -> None:
        self.name = address
        self.address = ipaddress.IPv4Address(address).packed
        self.mac = b"\x02" + hashlib.sha256(f"floe gateway {address}".encode()).digest()[:5]
        self._network = network
        self._names: dict[str, list[Member]] = {}
        self._turn = 0
        self._probes: dict[int, _Probe] = {}  # by our port
        network.station = self
        network.loop.ticks.append(self._tick)

    def close(self) -> None:
        """Answer no more."""
        self._network.loop.ticks.remove(self._tick)
        for probe in self._probes.values():
            probe.tell(False)
        self._probes.clear()

    def set_names(self, members: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """Names, and for each the addresses and hardware addresses of its VMs."""
        self._names = {
            name.lower(): [
                (ipaddress.IPv4Address(address).packed, bytes.fromhex(mac.replace(":", ""))) for address, mac in found
            ]
            for name, found in members.items()
        }

    def probe(self, address: str, port: int, tell: Callable[[bool], None]) -> None:
        """Ask for a connection, which is not taken, and tell whether it would be."""
        own = 0xC000 | int.from_bytes(os.urandom(2), "big") & 0x3FFF
        sequence = int.from_bytes(os.urandom(4), "big")
        target = ipaddress.IPv4Address(address).packed
        now = time.monotonic()
        self._probes[own] = _Probe(target, port, sequence, now + _PROBE_S, now + _AGAIN_S, tell)
        self._send_tcp(target, (own, port), sequence, 0, _SYN)

    def receive(self, frame: bytes) -> None:
        """A frame for us, or for all."""
        (kind,) = struct.unpack_from(">H", frame, 12)
        body = frame[14:]
        if kind == _ARP and len(body) >= _ARP_BODY.size:
            self._arp(body)
        elif kind == _IP and len(body) >= _IP_HEADER.size:
            self._ip(frame[6:12], body)

    def _arp(self, body: bytes) -> None:
        *head, operation, mac, address, _, wanted = _ARP_BODY.unpack_from(body)
        if head == [1, _IP, 6, 4] and operation == 1 and wanted == self.address:
            reply = _ARP_BODY.pack(1, _IP, 6, 4, 2, self.mac, self.address, mac, address)
            self._network.inject(mac + self.mac + struct.pack(">H", _ARP) + reply)

    def _ip(self, mac: bytes, body: bytes) -> None:
        first, _, total, _, fragment, _, protocol, _, source, target = _IP_HEADER.unpack_from(body)
        head = (first & 15) * 4
        whole = first >> 4 == 4 and _IP_HEADER.size <= head <= total <= len(body) and not fragment & 0x3FFF
        if target != self.address or not whole:
            return
        data = body[head:total]
        if protocol == _ICMP and len(data) >= 8 and data[0] == 8:
            rest = b"\0\0" + data[4:]
            self._send(mac, source, _ICMP, b"\0\0" + _checksum(b"\0\0" + rest) + rest[2:])
        elif protocol == _UDP and len(data) >= _UDP_HEADER.size:
            self._udp(mac, source, data)
        elif protocol == _TCP and len(data) >= _TCP_HEADER.size:
            self._tcp(source, data)

    def _udp(self, mac: bytes, source: bytes, data: bytes) -> None:
        theirs, own, length, _ = _UDP_HEADER.unpack_from(data)
        if own != _DNS or not _UDP_HEADER.size <= length <= len(data):
            return
        said = names.answer(data[_UDP_HEADER.size : length], self._lookup)
        if said is None:
            return
        length = _UDP_HEADER.size + len(said)
        pseudo = self.address + source + struct.pack(">BBH", 0, _UDP, length)
        checksum = _checksum(pseudo + _UDP_HEADER.pack(_DNS, theirs, length, 0) + said)
        checksum = checksum if checksum != b"\0\0" else b"\xff\xff"
        self._send(mac, source, _UDP, struct.pack(">HHH", _DNS, theirs, length) + checksum + said)

    def _lookup(self, name: str) -> list[bytes] | None:
        """Of several VMs those that are there, another one first each time."""
        members = self._names.get(name)
        if members is None:
            return None
        there = [address for address, mac in members if self._network.is_joined(mac)]
        found = there or [address for address, _ in members]
        self._turn += 1
        turn = self._turn % len(found) if found else 0
        return found[turn:] + found[:turn]

    def _tcp(self, source: bytes, data: bytes) -> None:
        theirs, own, _, acknowledged, _, flags, *_ = _TCP_HEADER.unpack_from(data)
        probe = self._probes.get(own)
        if probe is None or (probe.target, probe.port) != (source, theirs):
            if flags & _ACK and not flags & _RST:  # to a SYN that was on its way when another one was answered
                self._send_tcp(source, (own, theirs), acknowledged, 0, _RST)
            return
        if flags & _ACK and acknowledged == (probe.sequence + 1) & 0xFFFFFFFF and flags & (_SYN | _RST):
            del self._probes[own]
            if not flags & _RST:
                self._send_tcp(source, (own, theirs), acknowledged, 0, _RST)
            probe.tell(not flags & _RST)

    def _send_tcp(self, target: bytes, ports: tuple[int, int], sequence: int, acknowledged: int, flags: int) -> None:
        segment = _TCP_HEADER.pack(*ports, sequence, acknowledged, 5 << 4, flags, 8192, 0, 0)
        pseudo = self.address + target + struct.pack(">BBH", 0, _TCP, len(segment))
        segment = segment[:16] + _checksum(pseudo + segment) + segment[18:]
        macs = [mac for members in self._names.values() for address, mac in members if address == target]
        self._send(macs[0] if macs else _ALL, target, _TCP, segment)

    def _send(self, mac: bytes, target: bytes, protocol: int, data: bytes) -> None:
        total = _IP_HEADER.size + len(data)
        head = _IP_HEADER.pack(0x45, 0, total, 0, 0x4000, _TTL, protocol, 0, self.address, target)
        head = head[:10] + _checksum(head) + head[12:]
        self._network.inject(mac + self.mac + struct.pack(">H", _IP) + head + data)

    def _tick(self, now: float) -> float | None:
        for port, probe in list(self._probes.items()):
            if now >= probe.deadline:
                del self._probes[port]
                probe.tell(False)
            elif now >= probe.again:
                probe.again = now + _AGAIN_S
                self._send_tcp(probe.target, (port, probe.port), probe.sequence, 0, _SYN)
        return min((min(probe.again, probe.deadline) for probe in self._probes.values()), default=None)


def _checksum(data: bytes) -> bytes:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")
