# SPDX-License-Identifier: MIT
"""images/router's advertisements and names without a VM."""

from __future__ import annotations

import importlib
import random
import socket
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6NDOptDNSSL,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

from tests.boot import dnsguest, routermodules  # noqa: F401 - put the modules where they are imported from
from tests.boot.handloop import Loop

LINK_LOCAL, GLOBAL = "fe80::ff:fe00:201", "2001:db8:1::1"
MAC = bytes.fromhex("020000000201")


class Card:
    def __init__(self, *addresses: tuple[str, int]) -> None:
        self.mac = MAC
        self.sent: list[Ether] = []
        self.routes = 0
        self.lan = SimpleNamespace(ipconfig=lambda what: [(text, state, 0, 0) for text, state in addresses])

    def send(self, frame: bytes) -> bool:
        self.sent.append(Ether(frame))
        return True

    def is_router(self, on: bool = True) -> None:
        self.routes += 1 if on else -1


def advertiser(card: Card, loop: Loop, **more: object) -> Any:
    told: dict[str, object] = {"mtu": 1480, "dns": True, "domains": ["home.test"], "prefixes": None, **more}
    return importlib.import_module("advertise").Advertiser(loop, card, SimpleNamespace(**told))


def test_an_advertisement() -> None:
    loop, card = Loop(), Card((LINK_LOCAL, 0x30), (GLOBAL, 0x30), ("2001:db8:9::1", 0x08))
    made = advertiser(card, loop)
    made.start()
    loop.run()
    (frame,) = card.sent
    assert frame.dst == "33:33:00:00:00:01" and frame.src == MAC.hex(":")
    assert (frame[IPv6].src, frame[IPv6].dst, frame[IPv6].hlim) == (LINK_LOCAL, "ff02::1", 255)
    checksum = frame[ICMPv6ND_RA].cksum
    del frame[ICMPv6ND_RA].cksum
    assert Ether(bytes(frame))[ICMPv6ND_RA].cksum == checksum
    assert (frame[ICMPv6ND_RA].routerlifetime, frame[ICMPv6ND_RA].M, frame[ICMPv6ND_RA].O) == (1800, 0, 0)
    prefix = frame[ICMPv6NDOptPrefixInfo]  # the tentative address's is not among them
    assert (prefix.prefix, prefix.prefixlen, prefix.L, prefix.A) == ("2001:db8:1::", 64, 1, 1)
    assert ICMPv6NDOptPrefixInfo not in prefix.payload
    assert frame[ICMPv6NDOptMTU].mtu == 1480 and frame[ICMPv6NDOptSrcLLAddr].lladdr == MAC.hex(":")
    assert frame[ICMPv6NDOptRDNSS].dns == [GLOBAL] and frame[ICMPv6NDOptRDNSS].lifetime == 1800
    assert frame[ICMPv6NDOptDNSSL].searchlist == ["home.test."]
    made.stop()
    last = card.sent[-1]
    assert last[ICMPv6ND_RA].routerlifetime == 0 and last[ICMPv6NDOptRDNSS].lifetime == 0
    assert card.routes == 0


def test_nothing_follows_its_end() -> None:
    """An answer that waited would say that it is a router still."""
    loop, card = Loop(), Card((LINK_LOCAL, 0x30), (GLOBAL, 0x30))
    made = advertiser(card, loop)
    made.start()
    loop.run()
    made.asked(SimpleNamespace(address=bytes(16), mac=MAC))
    made.stop()
    count = len(card.sent)
    for _ in range(3):
        loop.run()
    assert len(card.sent) == count and not loop.run()


def test_the_first_ones_come_soon_and_all_at_random() -> None:
    loop, card = Loop(), Card((LINK_LOCAL, 0x30), (GLOBAL, 0x30))
    made = advertiser(card, loop, dns=[], domains=[], mtu=0)
    made.start()
    waits = [max(loop.run()) for _ in range(12)]
    assert waits[1:3] == [16000, 16000] and all(200_000 <= ms <= 600_000 for ms in waits[3:])
    assert len(set(waits[3:])) > 3 and made.counts["advertised"] == 12
    assert ICMPv6NDOptRDNSS not in card.sent[0] and ICMPv6NDOptMTU not in card.sent[0]


@pytest.mark.parametrize("addresses", [[(LINK_LOCAL, 0x08), (GLOBAL, 0x30)], [(LINK_LOCAL, 0x30)], []])
def test_without_addresses_it_waits(addresses: list[tuple[str, int]]) -> None:
    """It is no way to anywhere."""
    loop, card = Loop(), Card(*addresses)
    made = advertiser(card, loop)
    made.start()
    assert loop.run() and not card.sent and made.counts["advertised"] == 0
    assert min(timer.ms for timer in loop.calls) == 500


def test_answers_to_solicitations_are_limited() -> None:
    loop, card = Loop(), Card((LINK_LOCAL, 0x30), (GLOBAL, 0x30))
    made = advertiser(card, loop)
    asker = SimpleNamespace(address=socket.inet_pton(socket.AF_INET6, "fe80::9"), mac=b"\2\0\0\0\0\x09")
    for _ in range(100):
        made.asked(asker)
    assert all(ms < 500 for ms in loop.run())
    assert len(card.sent) == 8 and made.counts == {"advertised": 0, "answered": 8, "limited": 92}
    assert card.sent[0][IPv6].dst == "fe80::9" and card.sent[0].dst == "02:00:00:00:00:09"


# ---- names --------------------------------------------------------------------------------------


@pytest.fixture
def names() -> Iterator[ModuleType]:
    module = importlib.import_module("names")
    yield module
    for name in ("names", "dhcpmessage"):
        sys.modules.pop(name, None)


class Other:
    """Stands for the forwarder: says that it was asked."""

    def answer(self, query: Any, via: object, address: tuple[str, int], refuse: object) -> str:
        return "elsewhere"


HOSTS = {("home.test", "tv"): 0x0A010007, ("lab.test", "pc"): 0x0A020008}


def served(names: ModuleType) -> Any:
    access = SimpleNamespace(allows=lambda host, key: host != "192.0.2.9")
    back = {0x0A010007: "tv.home.test", 0x0A010063: None}
    made = names.Names(
        ["home.test", "lab.test"], access, lambda *key: HOSTS.get(key), lambda number: back.get(number, False)
    )
    made.forwarder = Other()
    return made


def ask(made: Any, name: str, kind: str = "A", host: str = "10.1.0.5", **more: Any) -> Any:
    message = importlib.import_module("message")
    query = message.parse(dns.message.make_query(name, kind, **more).to_wire())
    answer = made.answer(query, None, (host, 5), lambda query, code: code)
    return dns.message.from_wire(answer) if isinstance(answer, bytes) else answer


def test_names_of_here(names: ModuleType) -> None:
    made = served(names)
    for name in ("tv.home.test.", "TV.Home.test.", "tv."):
        answer = ask(made, name, use_edns=0)
        assert [str(each) for each in answer.answer[0]] == ["10.1.0.7"] and answer.edns == 0, name
        assert str(answer.question[0].name) == name
    assert str(ask(made, "pc.lab.test.").answer[0][0]) == "10.2.0.8"
    assert str(ask(made, "7.0.1.10.in-addr.arpa.", "PTR").answer[0][0]) == "tv.home.test."
    for name, code in (("pc.home.test.", "NXDOMAIN"), ("a.tv.home.test.", "NXDOMAIN"), ("home.test.", "NOERROR")):
        answer = ask(made, name)
        assert (dns.rcode.to_text(answer.rcode()), answer.answer) == (code, []), name
    assert dns.rcode.to_text(ask(made, "99.0.1.10.in-addr.arpa.", "PTR").rcode()) == "NXDOMAIN"
    answer = ask(made, "tv.home.test.", "AAAA")
    assert (answer.rcode(), answer.answer) == (0, [])


def test_names_of_others(names: ModuleType) -> None:
    made = served(names)
    others = ["example.org.", "xhome.test.", "unknown.", ".", "test.", "in-addr.arpa."]
    for name in [
        *others,
        "1.2.3.in-addr.arpa.",
        "256.0.1.10.in-addr.arpa.",
        "5.0.1.10.in-addr.arpa.",
        "a.b.c.d.in-addr.arpa.",
    ]:
        assert ask(made, name, "PTR") == "elsewhere", name
    assert ask(made, "tv.home.test.", host="192.0.2.9") == dns.rcode.REFUSED
    made.forwarder = None
    assert ask(made, "example.org.") == dns.rcode.REFUSED


def test_names_that_are_none(names: ModuleType) -> None:
    """Labels of any bytes."""
    made = served(names)
    message = importlib.import_module("message")
    draw = random.Random(3)
    for suffix in (b"\4home\4test\0", b"\0", b"\7in-addr\4arpa\0"):
        for _ in range(2000):
            labels = [draw.randbytes(draw.randrange(1, 64)) for _ in range(draw.randrange(1, 3))]
            name = b"".join(bytes([len(each)]) + each for each in labels) + suffix
            wire = b"\0\1\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"
            answer = made.answer(message.parse(wire), None, ("10.1.0.5", 5), lambda query, code: code)
            assert answer == "elsewhere" or (suffix[:1] == b"\4" and answer[3] & 15 == dns.rcode.NXDOMAIN)


PRINTER = b"\2\0\0\0\0\x09"


def test_a_reservation_is_of_a_machine_whatever_it_calls_itself() -> None:
    leases = importlib.import_module("leases")
    book = leases.Book([(100, 103)], [leases.Reservation(9, b"m" + PRINTER, "printer")], [1])
    book.grant(leases.Lease(9, b"m\1" + PRINTER, PRINTER, 5000, "printer"))
    assert book.find(SimpleNamespace(key=b"i\xffother", hardware=PRINTER), None, 1000) == 9
    assert not book.may_have(9, SimpleNamespace(key=b"m\1abcdef", hardware=b"abcdef"), 1000)


def test_a_clock_that_is_set_back_keeps_no_address_back() -> None:
    leases = importlib.import_module("leases")
    book = leases.Book([(100, 101)], [], [])
    for i in range(2):
        book.grant(leases.Lease(100 + i, b"i%d" % i, b"", 100600, ""))
    assert book.find(SimpleNamespace(key=b"x", hardware=b"x"), None, 100000) is None
    book.ranges, book.size = [(100, 102)], 3
    assert book.find(SimpleNamespace(key=b"x", hardware=b"x"), None, 90000) == 102


def test_long_client_identifiers_are_refused() -> None:
    messages = importlib.import_module("dhcpmessage")
    head = bytes((1, 1, 6, 0)) + bytes(24) + PRINTER.ljust(208, b"\0") + b"\x63\x82\x53\x63\x35\1\1"
    assert messages.Message(head + b"\x3d\xff" + b"a" * 255 + b"\xff").key == b"i" + b"a" * 255
    with pytest.raises(messages.FormatError):
        messages.Message(head + (b"\x3d\xff" + b"a" * 255) * 2 + b"\xff")
