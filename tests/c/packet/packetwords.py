# SPDX-License-Identifier: MIT
"""The engine of packet_user.c, in words of addresses and scapy's frames."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build
from tests.packet import language

SOURCES = ("bridge", "buf", "filter", "fwd", "hold", "icmp", "neigh", "parse", "route", "send")
SOURCES += ("flow", "frag", "nat", "sum", "table", "tcp", "tuple", "program", "rules")
KINDS = ("local", "broadcast", "connected", "default", "static")
INSIDE, OUTSIDE = "02:00:00:00:00:aa", "02:00:00:00:01:02"  # hosts' MAC addresses
TX_CSUM, TSO4, TSO6 = 1, 2, 4
TCP4, TCP6 = 1, 2  # netdev_gso_t


def program(folder: Path) -> Path:
    """The program, compiled."""
    sources = [str(ROOT / f"modules/packet/packet{name}.c") for name in SOURCES]
    return build(folder, "packet_user", f"-I{ROOT}", f"-I{ROOT / 'modules/netdev'}", *sources, folder="packet")


def mac(card: int) -> str:
    """Of the engine's card."""
    return f"02:00:00:00:00:{card:02x}"


def packed(address: str) -> str:
    return ipaddress.ip_address(address).packed.hex()


@dataclass(frozen=True)
class Sent:
    """A frame that left, with what the card was asked to do."""

    card: int
    csum_start: int
    csum_offset: int
    gso: int
    gso_size: int
    hdr_len: int
    data: bytes

    @property
    def ether(self) -> Packet:
        return Ether(self.data)


@dataclass(frozen=True)
class Result:
    """What became of a frame: "passed", "dropped", "kept"; "" of the clock. own: what a bridge has for this machine;
    late: frames for this machine that had waited."""

    fate: str
    sent: list[Sent]
    asked: list[tuple[int, str]]
    own: bytes | None = None
    late: list[bytes] = field(default_factory=list)


class Engine:
    """One process of it, with three cards: card N is 10.N.0.1/16 and 2001:db8:N::1/64."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness

    def route(self, prefix: str, card: int, via: str = "") -> int:
        net = ipaddress.ip_network(prefix)
        words = (net.version, net.network_address.packed.hex(), net.prefixlen, card, packed(via) if via else "-")
        return self.harness.number("route", *words)

    def unroute(self, prefix: str) -> int:
        net = ipaddress.ip_network(prefix)
        return self.harness.number("unroute", net.version, net.network_address.packed.hex(), net.prefixlen)

    def find(self, address: str) -> tuple[int, str] | None:
        """Card and gateway ("" for none)."""
        ip = ipaddress.ip_address(address)
        said = self.harness.do("find", ip.version, ip.packed.hex())
        if said == "none":
            return None
        card, _, via = said.split()
        return int(card), "" if via == "-" else str(ipaddress.ip_address(bytes.fromhex(via)))

    def routes(self, family: int) -> dict[str, tuple[int, str]]:
        out = {}
        for line in self.harness.do("routes", family).splitlines():
            prefix, card, kind, _ = line.split()
            address, _, bits = prefix.partition("/")
            net = f"{ipaddress.ip_address(bytes.fromhex(address))}/{bits}"
            assert net not in out
            out[net] = int(card), KINDS[int(kind)]
        return out

    def neighbour(self, card: int, address: str, hardware: str) -> None:
        ip = ipaddress.ip_address(address)
        self.harness.do("neighbour", card, ip.version, ip.packed.hex(), hardware.replace(":", ""))

    def know_hosts(self) -> None:
        """INSIDE is host .2 behind card 0, OUTSIDE that behind card 1, of both families."""
        for version in (4, 6):
            self.neighbour(0, addressed(version, 0, 1).src, INSIDE)
            self.neighbour(1, addressed(version, 0, 1).dst, OUTSIDE)

    def card(self, number: int, *, mtu: int = 1500, features: int = 0, up: bool = True, room: int = 1 << 20) -> None:
        self.harness.do("card", number, mtu, features, int(up), room)

    def receive(
        self,
        card: int,
        frame: Packet | bytes,
        *,
        csum: tuple[int, int] = (0, 0),
        gso: tuple[int, int] = (0, 0),
        cuts: tuple[int, ...] = (),
    ) -> Result:
        """A frame comes in; `cuts`: where it goes on in another piece."""
        data = bytes(frame)
        ends = [*cuts, len(data)]
        pieces = [data[a:b].hex() for a, b in zip([0, *cuts], ends, strict=True)]
        return self._result(self.harness.do("frame", card, *csum, *gso, *pieces))

    def rules(self, **chains: object) -> None:
        """Have these rules in use, of tests.packet.language; none: without rules."""
        program = language.rules.RuleSet(**chains).compile().bytes if chains else b""
        self.harness.do("rules", bytes(program).hex() or "-")

    def track(self, flows: int = 1024) -> None:
        self.harness.do("track", flows)

    def sends(self, card: int, frame: Packet) -> None:
        """This machine itself sends a frame."""
        self.harness.do("sends", card, bytes(frame).hex())

    def run(self, seconds: float = 0.0) -> Result:
        return self._result(self.harness.do("run", int(seconds * 1e9)))

    def left(self) -> int:
        """All that is in flight leaves; how many frames were not given back then."""
        self.harness.do("left")
        return self.harness.number("lent")

    def count(self, name: str) -> int:
        return self.harness.number("count", name)

    def _result(self, said: str) -> Result:
        sent = []
        asked = []
        own = None
        late = []
        fate = ""
        for line in said.splitlines():
            kind, *words = line.split()
            if kind == "sent":
                sent.append(Sent(*map(int, words[:6]), bytes.fromhex(words[6])))
            elif kind == "own":
                own = bytes.fromhex(words[0])
            elif kind == "in":
                late.append(bytes.fromhex(words[1]))
            elif kind == "ask":
                asked.append((int(words[0]), str(ipaddress.ip_address(bytes.fromhex(words[2])))))
            else:
                fate = kind
        return Result(fate, sent, asked, own, late)


def to(card: int, packet: Packet, source: str = "02:00:00:00:aa:01") -> Packet:
    """The packet in a frame for the engine's card."""
    return Ether(dst=mac(card), src=source) / packet


def summed(data: bytes) -> int:
    """The ones' complement sum: 0xffff of what has a right checksum in it."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(packet: bytes, proto: int, size: int) -> bytes:
    """The pseudo header of an IP packet."""
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    return addresses + proto.to_bytes(2, "big") + size.to_bytes(2, "big")


def intact(frame: Packet) -> bool:
    """Whether the checksums of an IP packet are right, but for those of a fragment's payload."""
    ip = bytes(frame.payload)
    if ip[0] >> 4 == 4:
        head, proto, fragment = (ip[0] & 15) * 4, ip[9], int.from_bytes(ip[6:8], "big") & 0x3FFF
    else:
        head, proto, fragment = 40, ip[6], 0
    if ip[0] >> 4 == 4 and summed(ip[:head]) != 0xFFFF:
        return False
    rest = ip[head:]
    if fragment or (proto == 17 and rest[6:8] == b"\0\0"):
        return True
    if proto == 1:
        return summed(rest) == 0xFFFF
    return proto not in (6, 17, 58) or summed(pseudo(ip, proto, len(rest)) + rest) == 0xFFFF


def addressed(version: int, source: int, destination: int, **fields: int) -> Packet:
    """An IP header from host .2 of one card's network to host .2 of another's."""
    if version == 4:
        return IP(src=f"10.{source}.0.2", dst=f"10.{destination}.0.2", **fields)
    fields = {"hlim" if name == "ttl" else name: value for name, value in fields.items()}
    return IPv6(src=f"2001:db8:{source}::2", dst=f"2001:db8:{destination}::2", **fields)
