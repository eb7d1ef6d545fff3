# SPDX-License-Identifier: MIT
"""network.LAN, DHCP, DNS, IPv6 and groups in a VM, against networks that the test is (wire.py)."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from floe.stream.streams import Matched
from floe.testing import Boot, Guest
from tests.target.peers import wire
from tests.target.peers.wire import Wire

pytestmark = pytest.mark.usefixtures("each_qemu")

GUEST = Path(__file__).resolve().parent / "guests" / "guest_lan.py"


def start(boot: Boot, what: str, *cards: str) -> Guest:
    return boot(GUEST, deadline_s=60, args=(what,), net=cards)


def line(vm: Guest, start: str) -> str:
    """The rest of the guest's next line that begins so."""
    vm.expect_exact(f"{start} ")
    vm.expect_exact("\n")
    return re.findall(rf"^{start} (.*)$", vm.console_text, re.MULTILINE)[-1]


def wait(vm: Guest, what: Callable[[], object], seconds: float) -> None:
    """Until it holds on the wire, which wakes nobody here."""
    deadline = time.monotonic() + seconds
    while vm.pump(lambda: bool(what()), 0.05) is not Matched and time.monotonic() < deadline:
        pass
    assert what()


def ended(vm: Guest) -> str:
    assert vm.wait() == 0
    assert vm.console_text.endswith("the end\n")
    assert "PANIC" not in vm.console_text
    return vm.console_text


def test_leases(boot: Boot, tmp_path: Path) -> None:
    """A lease of three seconds: renewed in time, changed, lost when the server is gone, and got again."""
    path = tmp_path / "wire"
    vm = start(boot, "leases", f"listen:{path}")
    with Wire(path, lease=("10.9.0.42", 3)) as net:
        net.servers = ["10.9.0.53"]
        assert line(vm, "bound") == "True 10.9.0.42 True 10.9.0.53"
        assert line(vm, "echo") == "b'first'"
        bound = len(net.said("request"))
        wait(vm, lambda: len(net.said("request 10.9.0.42 from 10.9.0.42 to 10.9.0.1")) >= 2, 15)
        times = net.said("request 10.9.0.42 from 10.9.0.42 to 10.9.0.1")
        assert all(0.5 <= b - a <= 2.95 for a, b in pairwise(times))
        assert len(net.said("discover")) <= bound
        vm.send(b"\n")
        assert line(vm, "renewed") == "10.9.0.42"
        net.lease = ("10.9.0.99", 3)  # what is asked for is refused from now on
        vm.send(b"\n")
        assert line(vm, "moved") == "True 10.9.0.99"
        assert line(vm, "echo") == "b'second'"
        net.lease = None
        vm.send(b"\n")
        assert line(vm, "gone") == "True 0.0.0.0 1"
        assert line(vm, "unreachable") == "True"
        vm.expect_exact("net: card 0: no answer from DHCP; it is asked again and again\n")
        assert net.said("request 10.9.0.99 from 10.9.0.99 to 255.255.255.255"), net.seen  # it asked everyone, at T2
        net.lease = ("10.9.0.100", 60)
        vm.send(b"\n")
        assert line(vm, "back") == "True 10.9.0.100"
        assert line(vm, "echo") == "b'third'"
        assert line(vm, "released") == "False False 0.0.0.0"
        wait(vm, lambda: net.said("release 10.9.0.100 from 10.9.0.100"), 5)
        assert line(vm, "again") == "True 10.9.0.100"
        text = ended(vm)
    assert text.count("no answer from DHCP") == 1
    assert text.count("net: card 0: DHCP has given 10.9.0.100\n") == 1


def test_who_waits_for_a_lease(boot: Boot, tmp_path: Path) -> None:
    path = tmp_path / "wire"
    vm = start(boot, "waits", f"listen:{path}")
    with Wire(path) as net:
        assert line(vm, "first") == "False True"
        assert line(vm, "waiting") == "still"
        net.lease = ("10.9.0.42", 60)
        assert line(vm, "lease") == "10.9.0.42"
        ended(vm)


A, AAAA = 1, 28
ADDRESS = b"\x0a\x01\x02\x03"
ADDRESS6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01"
FALSE = (A, b"\x06\x06\x06\x06")


def answers(name: str, kind: int, query: bytes, server: str) -> list[bytes]:
    """A lie is followed by the truth."""
    ok = (A, ADDRESS) if kind == A else (AAAA, ADDRESS6)
    whole = wire.reply(query, ok)
    at = len(whole) - 16  # of the record
    known = {
        "good": [whole],
        "six": [whole],
        "both": [whole],
        "missing": [wire.reply(query, flags=0x8183)],
        "refused": [wire.reply(query, flags=0x8185)],
        "truncated": [wire.reply(query, ok, flags=0x8380)],  # says so, of a record that is whole
        "forged": [wire.reply(query[:1] + bytes([query[1] ^ 1]) + query[2:], FALSE), whole],  # another transaction
        "other": [wire.reply(query.replace(b"\x05other", b"\x05xther"), FALSE), whole],  # another question
        "query": [wire.reply(query, FALSE, flags=0x0100), whole],  # no reply
        "loop": [whole[:at] + struct.pack(">H", 0xC000 | at) + whole[at + 2 :], whole],  # a name that points to itself
        "tail": [whole[:-2], whole],
        "empty": [wire.reply(query)],
        "cname": [wire.reply(query, (5, b"\x04real\x04test\x00"), ok)],
        "long": [wire.reply(query, *[(16, bytes([100]) + b"x" * 100)] * 3, ok)],
    }
    return known.get(name.removesuffix(".test"), [])


def test_names(boot: Boot, tmp_path: Path) -> None:
    path = tmp_path / "wire"
    vm = start(boot, "names", f"listen:{path},ip=10.9.0.2/24,gw=10.9.0.1,dns=10.9.0.1,ip6=2001:db8::2/64")
    with Wire(path, dns=answers) as net:
        text = ended(vm)
    found = {name: (what, int(ms)) for name, what, ms in re.findall(r"^name (\S+)\.test (.*) (\d+)$", text, re.M)}
    assert found["good"][0] == "['10.1.2.3', '2001:db8::1']"  # an IPv6 address is in use: both kinds are asked for
    assert found["both"][0] == found["good"][0]
    assert found["six"][0] == "['2001:db8::1']"
    for name in ("cname", "long", "forged", "other", "query"):
        assert found[name][0] == "['10.1.2.3']", name
    for name in ("missing", "refused", "empty", "silent"):
        assert found[name][0] == "-2", name
    for name in ("loop", "tail", "truncated"):
        assert found[name][0] in ("-2", "['10.1.2.3']"), name
    assert found["silent"][1] < 15000
    assert len(net.said("query silent.test 1")) >= 2  # asked again


def test_two_cards(boot: Boot, tmp_path: Path) -> None:
    """The first card's name server stays the first; ip6=none is silence, whatever the wire says."""
    paths = tmp_path / "one", tmp_path / "two"
    vm = start(
        boot, "two",
        f"listen:{paths[0]},ip=10.1.0.2/24,gw=10.1.0.1,dns=10.1.0.53",
        f"listen:{paths[1]},ip=10.2.0.2/24,gw=10.2.0.1,dns=10.2.0.53,ip6=none",
    )  # fmt: skip

    def known(name: str, kind: int, query: bytes, server: str) -> list[bytes]:
        return [wire.reply(query, (A, ADDRESS))]

    with Wire(paths[0], dns=known) as one, Wire(paths[1], dns=known) as two:
        assert line(vm, "cards") == "True True True"
        assert line(vm, "first") == "('10.1.0.2', '255.255.255.0') second ('10.2.0.2', '255.255.255.0')"
        assert line(vm, "dns") == "10.1.0.53 10.1.0.53"
        assert line(vm, "found") == "('10.1.2.3', 80)"
        wait(vm, lambda: one.said("udp 10.1.0.1:9") and two.said("udp 10.2.0.1:9"), 10)
        assert one.said("query good.test 1 at 10.1.0.53")
        assert not two.said("query")
        ping = struct.pack(">BBHHH", 128, 0, 0, 1, 1)
        for net, prefix in ((one, "2001:db8:1::"), (two, "2001:db8:2::")):
            net.send(wire.IP6, wire.router_advertisement(prefix))
            net.send(wire.IP6, wire.icmp6("fe80::1", "ff02::1", ping))
        vm.send(b"\n")
        assert line(vm, "six") == "True []"
        assert line(vm, "off") == "False 2"
        assert line(vm, "sent") == "0"
        assert one.said("ip6 next 58")
        assert not two.said("ip6"), two.seen
        assert line(vm, "on") == "True True"
        wait(vm, lambda: two.said("ip6"), 10)
        vm.send(b"\n")
        ended(vm)


def test_a_socket_of_one_card(boot: Boot, tmp_path: Path) -> None:
    paths = tmp_path / "one", tmp_path / "two"
    vm = start(boot, "devices", *(f"listen:{path},ip=10.{n}.0.2/24" for n, path in enumerate(paths, 1)))

    def ask(net: Wire, word: bytes) -> None:
        net.send(wire.IP4, wire.udp("0.0.0.0", 68, "255.255.255.255", 67, word))

    with Wire(paths[0]) as one, Wire(paths[1]) as two:
        vm.expect_exact("ready\n")
        for net, word in ((one, b"first"), (two, b"second")):
            ask(net, word)
            assert line(vm, "heard") == f"{word!r} ('0.0.0.0', 68)"
            assert line(vm, "other") == "True"
            wait(vm, lambda net=net: net.said("udp 255.255.255.255:68 b'answer'"), 10)
        assert [len(net.said("udp 255.255.255.255:68 b'answer'")) for net in (one, two)] == [1, 1]
        ask(one, b"anybody")
        assert line(vm, "any") == "b'anybody' ('0.0.0.0', 68)"
        ended(vm)


def test_neighbours(boot: Boot, tmp_path: Path) -> None:
    """Addresses in use stay in use, a tentative one that is another's is drawn anew, and no redirect is believed."""
    path = tmp_path / "wire"
    own, other = "2001:db8::2", bytes.fromhex("026666666666")
    ping = struct.pack(">BBHHH", 128, 0, 0, 1, 1)
    vm = start(boot, "neighbours", f"listen:{path},ip=10.9.0.2/24,ip6={own}/64,mac=52:54:00:12:34:77")
    with Wire(path) as net:
        net.defends = 1
        assert line(vm, "local") == "1 False"  # the one that is made from the MAC was another's
        first = next(text for _, text in net.seen if text.startswith("icmp6 135 from :::"))
        assert first.endswith(": fe80::5054:ff:fe12:3477")
        for count in (1, 2):
            net.send(wire.IP6, wire.icmp6(wire.SERVER6, own, ping))
            wait(vm, lambda count=count: len(net.said(f"icmp6 129 from {own}: {wire.MAC.hex(':')}")) == count, 10)
            net.send(wire.IP6, wire.neighbour(wire.ADVERTISEMENT, wire.SERVER6, "ff02::1", own, other, 0x20))
            to = socket.inet_pton(socket.AF_INET6, wire.SERVER6)
            net.send(wire.IP6, wire.neighbour(wire.REDIRECT, "fe80::99", own, "fe80::66", other, more=to))
            mine = socket.inet_aton("10.9.0.2")
            net.send(wire.ARP, struct.pack(">HHBBH6s4s6s4s", 1, wire.IP4, 6, 4, 1, other, mine, bytes(6), mine))
        vm.send(b"\n")
        assert line(vm, "still") == "1 ('10.9.0.2', '255.255.255.0')"
        text = ended(vm)
    assert text.count("net: ") == 3
    assert "net: address fe80::5054:ff:fe12:3477 is in use by 52:54:00:00:fe:01 too; another is drawn\n" in text
    for address in (own, "10.9.0.2"):
        assert f"net: address {address} is in use by 02:66:66:66:66:66 too; it stays in use here\n" in text


def test_six_cards(boot: Boot) -> None:
    """A name server too many is a line on the console; the card has its address."""
    vm = start(boot, "many", *(f"user,ip=10.5.{i}.2/24,gw=10.5.{i}.1,dns=10.5.{i}.3" for i in range(6)))
    text = ended(vm)
    assert [f"card {i} ('10.5.{i}.2', '255.255.255.0')" in text for i in range(6)] == [True] * 6
    assert re.findall(r"^net: .*$", text, re.MULTILINE) == [
        f"net: no room for one more name server: dns=10.5.{i}.3" for i in (4, 5)
    ]


def test_config(boot: Boot, tmp_path: Path) -> None:
    path = tmp_path / "wire"
    vm = start(boot, "config", f"listen:{path},ip=10.9.0.2/24,gw=10.9.0.1,mac=52:54:00:12:34:77")
    with Wire(path, lease=("10.9.0.200", 60)) as net:
        net.servers = ["10.9.0.55"]
        text = ended(vm)
    assert "<LAN 0 virtio-net link up 10.9.0.2> True\n" in text
    assert "mac 525400123477 1500 virtio-net 7\n" in text
    errors = re.search(r"^errors \[(.*)\]$", text, re.MULTILINE)
    assert errors is not None
    kinds = errors[1].replace("'", "").split(", ")
    assert [i for i, kind in enumerate(kinds) if kind == "TypeError"] == [2, 5]
    assert kinds.count("ValueError") == 13
    assert "set ('10.9.0.7', '255.255.0.0', '10.9.0.1', '10.9.0.53') False 10.9.0.53\n" in text
    assert "set ('10.9.0.8', '255.255.255.0', '10.9.0.1')\nset ('10.9.0.9', '255.255.255.128')\n" in text
    assert "six True\nsix False\ndns 10.9.0.54 6\n" in text
    # What the script has set stays before what the lease brings.
    assert "at once True\ndhcp 10.9.0.200 10.9.0.54 renamed\n" in text
    assert "down False False 0 True\n" in text


def test_groups(boot: Boot, tmp_path: Path) -> None:
    path = tmp_path / "wire"
    vm = start(boot, "groups", f"listen:{path},ip=10.9.0.2/24")
    with Wire(path) as net:
        assert line(vm, "leave") == "True"
        assert line(vm, "twice") == "True"
        assert line(vm, "one") == "left"
        assert not net.said("igmp 0x17"), net.seen  # another socket is still a member
        vm.send(b"\n")
        wait(vm, lambda: net.said("igmp 0x17 239.1.2.3"), 5)
        assert len(net.said("igmp 0x16 239.1.2.3")) >= 1
        assert line(vm, "heard") == "b'many'"
        assert line(vm, "not") == line(vm, "wrong") == "True"
        for said in ("10.9.0.1:9 b'one' ttl 5", "239.1.2.3:9 b'many' ttl 3", "239.1.2.3:9 b'others' ttl 255"):
            assert len(net.said(f"udp {said}")) == 1, net.seen
        ended(vm)
