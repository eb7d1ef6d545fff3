# SPDX-License-Identifier: MIT
"""heads.py: against scapy's packets, and any bytes at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from floe.profile import heads

A, B = IP(src="10.0.0.1", dst="10.0.0.2"), IP(src="10.0.0.2", dst="10.0.0.1")
A6, B6 = IPv6(src="fd00::1", dst="fd00::2"), IPv6(src="fd00::2", dst="fd00::1")


def head(packet: Packet) -> heads.Head:
    whole = bytes(Ether() / packet)
    return heads.read(whole[:128], len(whole))


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (A / TCP(sport=9, dport=80, flags="S"), "TCP 10.0.0.1:9 > 10.0.0.2:80 SYN 0 bytes"),
        (A / TCP(sport=9, dport=80, flags="PA") / bytes(900), "TCP 10.0.0.1:9 > 10.0.0.2:80 PSH ACK 900 bytes"),
        (A6 / TCP(sport=9, dport=80, flags="F"), "TCP [fd00::1]:9 > [fd00::2]:80 FIN 0 bytes"),
        (A / UDP(sport=9, dport=53) / bytes(12), "UDP 10.0.0.1:9 > 10.0.0.2:53 12 bytes"),
        (A / ICMP(id=7), "ICMP 10.0.0.1 > 10.0.0.2 echo request"),
        (A / ICMP(type=3), "ICMP 10.0.0.1 > 10.0.0.2 type 3"),
        (A6 / ICMPv6EchoReply(id=7), "ICMPv6 fd00::1 > fd00::2 echo reply"),
        (IP(src="10.0.0.1", dst="10.0.0.2", proto=47) / bytes(8), "GRE 10.0.0.1 > 10.0.0.2 8 bytes"),
        (IP(src="10.0.0.1", dst="10.0.0.2", frag=5) / bytes(8), "* 10.0.0.1 > 10.0.0.2 a later fragment, 8 bytes"),
        (ARP(psrc="10.0.0.1", pdst="10.0.0.2"), "ARP who has 10.0.0.2? tell 10.0.0.1"),
        (ARP(op=2, psrc="10.0.0.1", hwsrc="02:00:00:00:00:09"), "ARP 10.0.0.1 is at 02:00:00:00:00:09"),
        (Dot1Q(vlan=5) / A / UDP(sport=1, dport=2), "VLAN 5 UDP 10.0.0.1:1 > 10.0.0.2:2 0 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_packet_in_a_line(packet: Packet, text: str) -> None:
    found = head(packet).text
    assert found.endswith(text.lstrip("*")) and (text.startswith("*") or found == text)


@pytest.mark.parametrize(
    ("asks", "answers"),
    [
        (A / TCP(sport=9, dport=80, flags="S"), B / TCP(sport=80, dport=9, flags="SA")),
        (A / TCP(sport=9, dport=80, flags="PA") / b"x", B / TCP(sport=80, dport=9, flags="PA") / b"y"),
        (A / UDP(sport=9, dport=53) / b"x", B / UDP(sport=53, dport=9) / b"y"),
        (A / ICMP(id=7), B / ICMP(type=0, id=7)),
        (A6 / ICMPv6EchoRequest(id=7), B6 / ICMPv6EchoReply(id=7)),
        (ARP(psrc="10.0.0.1", pdst="10.0.0.2"), ARP(op=2, psrc="10.0.0.2", pdst="10.0.0.1")),
    ],
)
def test_what_answers_what(asks: Packet, answers: Packet) -> None:
    one, other = head(asks), head(answers)
    assert one.asks and other.answers
    assert one.back == other.flow and one.flow == other.back and one.flow is not None


def test_what_only_says_that_it_was_heard_is_no_answer() -> None:
    found = head(A / TCP(sport=9, dport=80, flags="A"))
    assert not found.asks and not found.answers


@given(st.binary(max_size=128))
def test_any_bytes_are_told_of(data: bytes) -> None:
    for start in (
        b"",
        bytes(12) + b"\x08\x00\x45",
        bytes(12) + b"\x86\xdd",
        bytes(12) + b"\x08\x06",
        bytes(12) + b"\x81\x00",
    ):
        assert heads.read(start + data, len(start + data)).text


def test_a_packet_that_is_cut_anywhere_is_told_of() -> None:
    whole = bytes(Ether() / Dot1Q(vlan=5) / A / TCP(sport=9, dport=80) / b"x")
    for size in range(len(whole)):
        assert heads.read(whole[:size], len(whole)).text
