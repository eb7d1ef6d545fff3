# SPDX-License-Identifier: MIT
"""images/router's DHCP without a VM: messages that lie, leases that are nobody else's, a file that is cut off."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from tests.boot import routermodules  # noqa: F401 - puts the image's modules where they are imported from

import dhcpmessage  # isort: skip
import ether  # isort: skip
from dhcpserver import Arrival, Scope, Server  # isort: skip
from leasefile import LeaseFile  # isort: skip
from leases import Book, Lease, Reservation  # isort: skip

OWN = 0x0A010001
FIRST, LAST = 0x0A010064, 0x0A010073
RESERVED = 0x0A010009
NOW = 1_800_000_000
KINDS = {"discover": 1, "request": 3, "decline": 4, "release": 7, "inform": 8}


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *args: object) -> None:
        self.lines.append(text % args)

    warning = error = info


def request(number: int, kind: str, *options: tuple[str, object], **fields: Any) -> bytes:
    said = [("message-type", kind), *options, "end"]
    return bytes(BOOTP(chaddr=b"\2\0\0\0" + struct.pack(">H", number), xid=number, **fields) / DHCP(options=said))


class Side:
    """A server of one network, and what it has sent."""

    def __init__(self, *, probe: bytes | None = None) -> None:
        reserved = Reservation(RESERVED, b"m\2\0\0\0\0\7", "printer")
        self.book = Book([(FIRST, LAST)], [reserved], [OWN])
        self.scope = Scope("lan", (OWN & ~255, 24), self.book, 3600)
        self.sent: list[BOOTP] = []
        self.asked: list[int] = []
        self.stored: list[Lease] = []
        self._probe = probe
        self.log = Log()
        self.server = Server(self.log, self, self._send, self._ask)
        self.now = NOW

    def put(self, lease: Lease) -> bool:
        self.stored.append(lease)
        return True

    def _send(self, arrival: Arrival, message: object, to: int, data: bytes) -> None:
        self.sent.append(BOOTP(data))

    def _ask(self, card: object, address: int, owner: bytes, done: Any) -> bool:
        self.asked.append(address)
        done(self._probe if address == FIRST else None)
        return True

    def take(self, data: bytes) -> BOOTP | None:
        self.sent.clear()
        self.server.take(data, Arrival(OWN, self.scope, b"\2\0\0\0\0\1", None), self.now)
        return self.sent[0] if self.sent else None

    def lease(self, number: int) -> str:
        offer = self.take(request(number, "discover"))
        assert offer is not None
        wanted = ("requested_addr", offer.yiaddr)
        ack = self.take(request(number, "request", wanted, ("server_id", "10.1.0.1")))
        assert ack is not None and ("message-type", 5) in ack[DHCP].options
        return str(ack.yiaddr)

    def check(self) -> None:
        """What holds whatever has come."""
        book = self.book
        assert len(book.leases) <= 17 and len(book.offers) <= 16 and len(book.declined) <= 4
        assert len(book._offered) <= 512 and len(book._offer_of) <= 512
        for address, lease in book.leases.items():
            assert lease.address == address and (book.in_range(address) or address == RESERVED)
        for key, lease in book.by_key.items():
            assert lease.key == key and book.leases.get(lease.address) is lease
        live = [lease for lease in book.leases.values() if lease.until > self.now]
        assert len({lease.key for lease in live}) == len(live)


def test_leases_come_in_order_and_end() -> None:
    side = Side()
    assert [side.lease(n) for n in (1, 2, 1, 7)] == ["10.1.0.100", "10.1.0.101", "10.1.0.100", "10.1.0.9"]
    for number in range(100, 114):
        side.lease(number)
    assert side.take(request(200, "discover")) is None and side.server.counts["exhausted"] == 1
    side.now += 1800
    side.lease(1)
    side.now += 1801  # all but that one have ended; it was 10.1.0.101 that ended first
    assert side.lease(200) == "10.1.0.101"
    assert side.lease(1) == "10.1.0.100"
    side.check()


def test_what_is_asked_for_is_given_only_to_its_owner() -> None:
    side = Side()
    wanted = ("requested_addr", "10.1.0.110")
    offer = side.take(request(1, "discover", wanted))
    assert offer is not None and offer.yiaddr == "10.1.0.110"
    other = side.take(request(2, "discover", wanted))
    assert other is not None and other.yiaddr == "10.1.0.100"  # that one is offered to somebody
    for address in ("10.1.0.1", "10.1.0.9", "10.1.0.20", "10.1.0.255", "192.0.2.1"):
        answer = side.take(request(3, "request", ("requested_addr", address), ("server_id", "10.1.0.1")))
        assert answer is not None and ("message-type", 6) in answer[DHCP].options, address
    side.server.authoritative = False
    assert side.take(request(4, "request", ("requested_addr", "10.1.0.105"))) is None
    side.server.authoritative = True
    assert side.take(request(4, "request", ("requested_addr", "10.1.0.105"))) is not None


def test_an_address_that_answers_is_passed_over() -> None:
    side = Side(probe=b"\2\0\0\0\0\x66")
    assert side.lease(1) == "10.1.0.101" and side.asked == [FIRST, FIRST + 1]
    assert side.lease(1) == "10.1.0.101" and len(side.asked) == 2  # its own is not asked for
    assert side.server.counts["conflict"] == 1


def test_a_name_is_its_first_holder_s() -> None:
    side = Side()
    side.scope.domain = "test"
    for number, wanted in ((1, "10.1.0.100"), (2, "10.1.0.101")):
        for name in (b"tv", b"printer", b"-bad", b"b\0d", b"x" * 64, b""):
            options = [("requested_addr", wanted), ("server_id", "10.1.0.1"), ("hostname", name)]
            assert side.take(request(number, "request", *options)) is not None
            if number == 1 and name == b"tv":
                assert side.server.lease_of("test", "tv", NOW).name == "tv"
    assert side.server.lease_of("test", "printer", NOW) is None  # reserved for another one
    assert side.take(request(1, "request", ("requested_addr", "10.1.0.100"), ("hostname", b"TV"))) is not None
    assert side.take(request(2, "request", ("requested_addr", "10.1.0.101"), ("hostname", b"tv"))) is not None
    assert side.server.lease_of("test", "tv", NOW).address == FIRST
    assert side.server.lease_of("test", "tv", NOW + 3601) is None


def test_names_do_not_pile_up() -> None:
    """A client that calls itself something else each time has the latest name alone."""
    side = Side()
    side.scope.domain = "test"
    for step in range(200):
        options = [("requested_addr", "10.1.0.100"), ("hostname", b"name%d" % step)]
        assert side.take(request(1, "request", *options)) is not None
    assert side.server.lease_of("test", "name199", side.now) is not None
    assert side.server.lease_of("test", "name7", side.now) is None
    assert side.take(request(1, "request", ("requested_addr", "10.1.0.100"))) is not None  # and none at last
    assert side.server.lease_of("test", "name199", side.now) is None and not side.server._names


def test_a_client_that_comes_too_often_costs_no_writing() -> None:
    side = Side()
    side.lease(1)
    wanted = ("requested_addr", "10.1.0.100")
    for _ in range(100):
        ack = side.take(request(1, "request", wanted))
        assert ack is not None
    side.now += 100
    ack = side.take(request(1, "request", wanted))
    assert ack is not None and ("lease_time", 3500) in ack[DHCP].options and len(side.stored) == 1
    side.now += 400
    ack = side.take(request(1, "request", wanted))
    assert ack is not None and ("lease_time", 3600) in ack[DHCP].options and len(side.stored) == 2


def test_lines_of_the_log_are_few_however_many_are_refused() -> None:
    side = Side()
    for number in range(1000):
        side.take(request(number, "request", ("requested_addr", "192.0.2.1")))
    assert len(side.log.lines) <= 20
    side.now += 2
    side.take(request(1, "request", ("requested_addr", "192.0.2.1")))
    assert "990 lines were left out" in side.log.lines[-2] and "may not have" in side.log.lines[-1]


def test_an_answer_holds_what_was_asked_for_and_fits() -> None:
    options = {1: bytes(4), 3: bytes(4), 6: bytes(4), 15: b"a", 119: bytes(700), 51: bytes(4)}
    asked = dhcpmessage.Message(request(1, "discover", ("param_req_list", [15, 6, 119])))
    answer = BOOTP(dhcpmessage.answer(asked, 2, (FIRST, OWN), options))
    codes = [each[0] for each in answer[DHCP].options if isinstance(each, tuple)]
    assert codes == ["message-type", "server_id", "lease_time", "subnet_mask", "domain", "name_server"]
    assert 300 <= len(bytes(answer)) <= 548
    large = ("max_dhcp_size", 1400)
    asked = dhcpmessage.Message(request(1, "discover", ("param_req_list", [119]), large))
    data = dhcpmessage.answer(asked, 2, (FIRST, OWN), options)
    assert data.count(b"\x77\xff") == 2 and len(data) < 1400 - 28  # an option of 700 bytes, in pieces
    back = bytearray(data)
    back[0] = 1
    assert dhcpmessage.Message(bytes(back).replace(b"\x35\1\2", b"\x35\1\1")).options[119] == bytes(700)


@pytest.mark.parametrize("seed", range(4))
def test_messages_that_lie(seed: int) -> None:
    """Bytes changed, cut and added: nothing but an answer or none comes of it, and no address is given twice."""
    draw = random.Random(seed)
    side = Side()
    names = list(KINDS)
    for step in range(2500):
        options: list[tuple[str, object]] = []
        if draw.random() < 0.7:
            options.append(("requested_addr", f"10.1.0.{draw.randrange(95, 120)}"))
        if draw.random() < 0.5:
            options.append(("server_id", "10.1.0.1"))
        if draw.random() < 0.3:
            options.append(("client_id", draw.randbytes(draw.randrange(1, 9))))
        ciaddr = f"10.1.0.{draw.randrange(95, 120)}" if draw.random() < 0.3 else "0.0.0.0"
        data = bytearray(request(draw.randrange(40), draw.choice(names), *options, ciaddr=ciaddr))
        for _ in range(draw.choice((0, 0, 1, 3, 30))):
            data[draw.randrange(len(data)) if draw.random() < 0.3 else draw.randrange(236, len(data))] = draw.randrange(
                256
            )
        if draw.random() < 0.1:
            data = data[: draw.randrange(len(data))]
        if draw.random() < 0.1:
            data += draw.randbytes(draw.randrange(60))
        answer = side.take(bytes(data))
        if answer is not None:
            assert answer.op == 2 and DHCP in answer
        side.now += draw.choice((0, 0, 1, 20, 700))
        if step % 50 == 0:
            side.check()
    assert side.server.counts["ack"] > 50 and side.server.counts["malformed"] > 50


def test_a_flood_of_hardware_addresses_is_bounded() -> None:
    side = Side()
    assert side.lease(1) == "10.1.0.100"
    for number in range(2, 5000):
        side.take(request(number, "discover"))
    side.check()
    assert len(side.stored) == 1  # an offer is not written down
    assert side.lease(6000) and side.lease(1) == "10.1.0.100"
    for number in range(7000, 9000):  # and ones that lease
        offer = side.take(request(number, "discover"))
        if offer is not None:
            side.take(request(number, "request", ("requested_addr", offer.yiaddr), ("server_id", "10.1.0.1")))
    side.check()
    assert side.lease(1) == "10.1.0.100" and side.book.taken(side.now) == 16


# ---- the file -----------------------------------------------------------------------------------


def leases(count: int, until: int = NOW) -> list[Lease]:
    return [
        Lease(FIRST + i, b"m\1" + bytes([i]), bytes([2, 0, 0, 0, 0, i]), until, f"host{i}" if i % 2 else "")
        for i in range(count)
    ]


def test_the_file_says_what_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "leases")
    kept = leases(6)
    file = LeaseFile(path, Log(), lambda: kept)
    for lease in kept:
        assert file.put(lease)
    kept[2].until = 0
    assert file.put(kept[2])
    found = {lease.address: vars(lease) for lease in LeaseFile(path, Log(), list).load()}
    assert found == {lease.address: vars(lease) for lease in kept}


def test_a_line_that_is_not_whole_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    kept = leases(3)
    file = LeaseFile(str(path), Log(), lambda: kept)
    for lease in kept:
        file.put(lease)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        lines = whole[:end].count(b"\n")
        assert len(LeaseFile(str(path), Log(), list).load()) == min(lines, 3)
    draw = random.Random(1)
    for _ in range(500):
        broken = bytearray(whole)
        broken[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(broken))
        for lease in LeaseFile(str(path), Log(), list).load():
            assert any(vars(lease) == vars(one) for one in kept)


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    kept = leases(10)
    file = LeaseFile(str(path), Log(), lambda: kept)
    for turn in range(3000):
        kept[turn % 10].until = NOW + turn
        assert file.put(kept[turn % 10])
    assert len(path.read_bytes().splitlines()) <= 2 * 10 + 512 + 2
    assert {one.until for one in LeaseFile(str(path), Log(), list).load()} == {one.until for one in kept}


def test_a_file_that_cannot_be_written_is_a_problem_and_no_end(tmp_path: Path) -> None:
    log = Log()
    file = LeaseFile(str(tmp_path / "nowhere" / "leases"), log, list)
    assert not file.put(leases(1)[0]) and not file.put(leases(1)[0])
    assert "error 2" in file.problem and len(log.lines) == 1


# ---- frames -------------------------------------------------------------------------------------


def test_frames() -> None:
    macs = (b"\2\0\0\0\0\1", b"\2\0\0\0\0\2")
    made = Ether(ether.datagram(macs, (OWN, FIRST), (67, 68), b"abc"))
    assert (made.src, made.dst) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert bytes(Ether(bytes(made)[:14] + bytes(IP(bytes(made[IP])).copy()))) == bytes(made)
    again = (
        Ether(dst=made.dst, src=made.src)
        / IP(src="10.1.0.1", dst="10.1.0.100", flags="DF", id=0)
        / UDP(sport=67, dport=68)
        / Raw(b"abc")
    )
    assert bytes(again) == bytes(made)  # both checksums are right
    back = ether.Datagram(bytes(made))
    assert (back.mac, back.source, back.target, back.port, back.data) == (macs[0], OWN, FIRST, 67, b"abc")
    probe = Ether(ether.arp_request(macs[0], FIRST))
    assert (probe[ARP].op, probe[ARP].psrc, probe[ARP].pdst, len(probe)) == (1, "0.0.0.0", "10.1.0.100", 60)
    reply = Ether(dst=made.dst) / ARP(op=2, hwsrc="02:00:00:00:00:09", psrc="10.1.0.100")
    assert ether.arp_reply(bytes(reply)) == (FIRST, b"\2\0\0\0\0\x09")
    assert ether.arp_reply(bytes(probe)) is None


def test_solicitations() -> None:
    option = ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:09")
    good = Ether(src="02:00:00:00:00:08") / IPv6(src="fe80::9", dst="ff02::2", hlim=255) / ICMPv6ND_RS()
    assert ether.Solicitation(bytes(good)).mac == b"\2\0\0\0\0\x08"
    assert ether.Solicitation(bytes(good / option)).mac == b"\2\0\0\0\0\x09"
    nobody = Ether() / IPv6(src="::", dst="ff02::2", hlim=255) / ICMPv6ND_RS()
    assert not any(ether.Solicitation(bytes(nobody)).address)
    wrong = good.copy()
    wrong[ICMPv6ND_RS].cksum = 7
    empty = Ether() / IPv6(src="fe80::9", dst="ff02::2", hlim=255) / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(len=0)
    long = Ether() / IPv6(src="fe80::9", dst="ff02::2", hlim=255) / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(len=2)
    for bad in (wrong, nobody / option, empty, long, bytes(good)[:50]):
        with pytest.raises(ValueError):
            ether.Solicitation(bytes(bad))


@pytest.mark.parametrize("seed", range(4))
def test_frames_that_lie(seed: int) -> None:
    draw = random.Random(seed)
    macs = (b"\2\0\0\0\0\1", b"\2\0\0\0\0\2")
    kinds = [
        ether.datagram(macs, (OWN, FIRST), (68, 67), bytes(40)),
        bytes(Ether() / IPv6(src="fe80::9", dst="ff02::2", hlim=255) / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr()),
        bytes(Ether() / ARP(op=2)),
    ]
    for _ in range(5000):
        frame = bytearray(draw.choice(kinds))
        for _ in range(draw.randrange(4)):
            frame[draw.randrange(len(frame))] = draw.randrange(256)
        data = bytes(frame[: draw.randrange(len(frame) + 1)] if draw.random() < 0.5 else frame)
        ether.arp_reply(data)
        for read in (ether.Datagram, ether.Solicitation):
            try:
                found = read(data)
            except ValueError:
                continue
            assert len(found.mac) == 6
