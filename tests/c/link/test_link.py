# SPDX-License-Identifier: MIT
"""modules/link: which frames Python gets, which lwIP and the router get too, and what goes out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.c.support.harness import EAGAIN, EMSGSIZE, ENODEV, ROOT, Harness
from tests.c.support.port_programs import build

DHCP_KIND, ARP_KIND, SOLICIT_KIND = 1, 2, 4
OWN, OTHER = "02:00:00:00:01:01", "02:00:00:00:00:99"
WAITING_MAX, FRAME_MAX = 16, 1514
DISCOVER = (
    Ether(src=OTHER, dst="ff:ff:ff:ff:ff:ff")
    / IP(src="0.0.0.0", dst="255.255.255.255")
    / UDP(sport=68, dport=67)
    / BOOTP()
    / DHCP(options=[("message-type", "discover"), "end"])
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = ["modules/link", "modules/lwip", "modules/netdev", "build/upstream/lwip/src/include"]
    flags = [f"-I{ROOT}", *(f"-I{ROOT / folder}" for folder in folders)]
    return build(tmp_path_factory.mktemp("link"), "link_user", *flags, folder="link")


class Link:
    """The program; card 0 listens to all kinds."""

    def __init__(self, h: Harness) -> None:
        self._h = h
        assert self.do("listen", 0, 7) == "0"

    def do(self, *words: object) -> str:
        return str(self._h.do(*words)).strip()

    def frame(self, packet: Packet | bytes, *cuts: int, card: int = 0) -> str:
        data = bytes(packet)
        edges = [0, *cuts, len(data)]
        return self.do("frame", card, *(data[a:b].hex() or "-" for a, b in itertools.pairwise(edges)))

    def take(self, card: int = 0) -> str:
        return self.do("take", card, FRAME_MAX)


@pytest.fixture
def link(h: Harness) -> Iterator[Link]:
    yield Link(h)


@pytest.mark.parametrize("to", ["255.255.255.255", "10.1.0.1", "10.1.0.255", "10.2.0.1"])
def test_a_request_for_a_dhcp_server_is_nobody_else_s(link: Link, to: str) -> None:
    packet = DISCOVER.copy()
    packet[IP].dst = to
    link.do("forwarder")
    assert link.frame(packet) == "dropped"
    assert link.take() == bytes(packet).hex() and link.take() == str(EAGAIN)
    assert link.frame(packet, card=1) == "passed"  # nobody listens there


def test_what_is_for_others_goes_on(link: Link) -> None:
    link.do("forwarder")
    for change in ({"dst": "10.9.0.1"}, {"flags": "MF"}, {"frag": 8}, {"proto": 6}):
        packet = DISCOVER.copy()
        for key, value in change.items():
            setattr(packet[IP], key, value)
        assert link.frame(packet) == "kept", change
    other = DISCOVER.copy()
    other[UDP].dport = 68
    assert link.frame(other) == "kept" and link.do("waiting", 0) == str(EAGAIN)


def test_the_pieces_of_a_frame_do_not_matter(link: Link) -> None:
    for cuts in ((1,), (14,), (14, 34), (20, 36), (37, 38), (42, 100), (0, 5)):
        assert link.frame(DISCOVER, *cuts) == "dropped", cuts
        assert link.take() == bytes(DISCOVER).hex()
    for size in range(45):
        assert link.frame(bytes(DISCOVER)[:size]) in ("passed", "dropped")
    while link.take() != str(EAGAIN):
        pass


def test_arp_replies_and_solicitations_are_heard_by_both(link: Link) -> None:
    reply = Ether(src=OTHER, dst=OWN) / ARP(op=2, hwsrc=OTHER, psrc="10.1.0.7", hwdst=OWN, pdst="0.0.0.0")
    assert link.frame(reply) == "passed" and link.take() == bytes(reply).hex()
    solicitation = Ether(src=OTHER) / IPv6(src="fe80::9", dst="ff02::2", hlim=255) / ICMPv6ND_RS()
    assert link.frame(solicitation) == "passed" and link.take() == bytes(solicitation).hex()
    far = solicitation.copy()
    far[IPv6].hlim = 254
    question = Ether(src=OTHER, dst=OWN) / ARP(op=1, psrc="10.1.0.7", pdst="10.1.0.1")
    others = Ether(src=OTHER, dst="02:00:00:00:05:01") / ARP(op=2, psrc="10.1.0.7")
    for packet in (far, question, others):
        assert link.frame(packet) == "passed" and link.take() == str(EAGAIN)


def test_what_has_no_room_is_counted(link: Link) -> None:
    for i in range(WAITING_MAX + 3):
        assert link.frame(DISCOVER / Raw(bytes([i]))) == "dropped"
    assert link.do("lost", 0) == "3"
    assert link.take().endswith("00") and link.take().endswith("01")
    assert link.frame(DISCOVER / Raw(bytes(FRAME_MAX))) == "dropped"
    assert link.do("lost", 0) == "4"
    assert link.do("take", 0, 10) == bytes(DISCOVER)[:10].hex()


def test_cards_that_are_not_there(link: Link) -> None:
    assert link.do("listen", 2, 7) == link.do("send", 2, "00" * 60) == link.do("router", 2, 1) == str(ENODEV)


def test_sending(link: Link) -> None:
    assert link.do("send", 1, "ab" * 60).split() == ["1", "ab" * 60, "0"]
    assert link.do("send", 0, "ab" * 13) == link.do("send", 0, "ab" * (FRAME_MAX + 1)) == str(EMSGSIZE)
    link.do("full")
    assert link.do("send", 0, "ab" * 60) == str(EAGAIN)


def test_neighbours_hear_that_this_is_a_router(link: Link) -> None:
    address = IPv6(src="fe80::1", dst="fe80::9", hlim=255)
    said = (
        Ether(src=OWN, dst=OTHER)
        / address
        / ICMPv6ND_NA(R=0, S=1, O=1, tgt="fe80::1")
        / ICMPv6NDOptDstLLAddr(lladdr=OWN)
    )
    wanted = said.copy()
    wanted[ICMPv6ND_NA].R = 1
    assert link.do("output", 0, bytes(said).hex()).split() == ["0", bytes(said).hex()]
    assert link.do("router", 0, 1) == "0"
    assert link.do("output", 0, bytes(said).hex()).split() == ["0", bytes(wanted).hex()]
    assert link.do("output", 0, bytes(wanted).hex()).split() == ["0", bytes(wanted).hex()]
    assert link.do("output", 0, bytes(DISCOVER).hex()).split() == ["0", bytes(DISCOVER).hex()]
    for size in (14, 54, 60, 77):
        assert link.do("output", 0, bytes(said).hex()[: 2 * size]).split() == ["0", bytes(said).hex()[: 2 * size]]
    assert link.do("router", 0, 0) == "0"
    assert link.do("output", 0, bytes(said).hex()).split() == ["0", bytes(said).hex()]


@pytest.mark.parametrize("seed", range(4))
def test_frames_that_lie(link: Link, seed: int) -> None:
    assert link.do("listen", 1, 7) == "0"
    assert int(link.do("fuzz", seed, 20000)) > 100
