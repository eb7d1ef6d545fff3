# SPDX-License-Identifier: MIT
"""A VM with two cards as a router (guest_packet.py), between hosts that are network namespaces."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
    fragment6,
)
from scapy.packet import Raw

from floe.testing import Boot
from tests.boot import packetpeer
from tests.boot.packetrouter import DEADLINE_S, MACS, Router, routing, until_there
from tests.support.spaces import Space, spaces

HERE = Path(__file__).resolve().parent
LARGE = 10 << 20


@pytest.fixture
def router(boot: Boot) -> Iterator[Router]:
    with routing(boot, HERE / "guest_packet.py", behind=True) as router:
        router.right.ip("addr", "add", "10.3.0.1/32", "dev", "lo")
        router.right.ip("addr", "add", "2001:db8:3::1/128", "dev", "lo")
        yield router


@pytest.fixture
def firewall(boot: Boot) -> Iterator[Router]:
    with routing(boot, HERE / "guest_packet_firewall.py", behind=False) as router:
        yield router


@contextlib.contextmanager
def iperf3(space: Space) -> Iterator[None]:
    with space.running("iperf3", "-s"):
        time.sleep(1)
        yield


def test_hosts_reach_each_other(router: Router) -> None:
    for address in ("10.2.0.2", "10.3.0.1", "2001:db8:2::2", "2001:db8:3::1"):
        for size in (0, 56, 1400):
            assert router.left.call(packetpeer.ping, address, size), (address, size)
    for address in ("10.1.0.2", "2001:db8:1::2", "10.1.0.1", "10.2.0.1", "2001:db8:1::1"):
        assert router.right.call(packetpeer.ping, address), address
    said = router.ask("counters")
    assert said["forwarded"] >= 28 and said["local"] >= 4
    assert said["no_room"] == said["bad"] == said["spoofed"] == said["unreachable"] == 0
    routes = {route["prefix"]: route for route in router.ask("routes")}
    assert routes["10.3.0.0/16"] == {"prefix": "10.3.0.0/16", "via": "10.2.0.2", "card": 1, "kind": "static"}
    assert routes["10.1.0.0/24"] == {"prefix": "10.1.0.0/24", "via": None, "card": 0, "kind": "connected"}
    assert routes["2001:db8:3::/48"]["via"] == "2001:db8:2::2" and routes["2001:db8:2::/64"]["card"] == 1
    assert routes["10.2.0.1/32"]["kind"] == "local" and routes["10.2.0.255/32"]["kind"] == "broadcast"


def test_what_cannot_go_on_is_said(router: Router) -> None:
    udp = UDP(sport=4, dport=33434) / Raw(b"x" * 8)
    back = router.from_left(IP(src="10.1.0.2", dst="10.2.0.2", ttl=1) / udp, expect=ICMP)
    assert back is not None and back[IP].src == "10.1.0.1" and (back[ICMP].type, back[ICMP].code) == (11, 0)
    back = router.from_left(IPv6(src="2001:db8:1::2", dst="2001:db8:2::2", hlim=1) / udp, expect=ICMPv6TimeExceeded)
    assert back is not None and back[IPv6].src == "2001:db8:1::1"
    back = router.from_left(IP(src="10.1.0.2", dst="198.51.100.1") / udp, expect=ICMP)
    assert back is not None and (back[ICMP].type, back[ICMP].code) == (3, 0)
    back = router.from_left(IP(src="10.1.0.2", dst="10.2.0.99") / udp, expect=ICMP)
    assert back is not None and (back[ICMP].type, back[ICMP].code) == (3, 1)  # nobody answered for it
    back = router.from_left(IPv6(src="2001:db8:1::2", dst="2001:db8:2::99") / udp, expect=ICMPv6DestUnreach)
    assert back is not None and back[ICMPv6DestUnreach].code == 3
    lies = [IP(src="10.2.0.1", dst="10.2.0.2") / udp, IP(src="127.0.0.1", dst="10.2.0.2") / udp]
    lies += [IP(src="10.1.0.2", dst="10.2.0.255") / udp, IP(src="10.1.0.2", dst="10.2.0.2", chksum=1) / udp]
    assert router.from_left(*lies, expect=ICMP, timeout_s=1.0) is None
    said = router.ask("counters")
    assert [said[name] for name in ("spoofed", "martian", "broadcast", "bad")] == [1, 1, 1, 1]
    assert said["expired"] == 2 and said["no_route"] == 1 and said["unreachable"] == 2


def fetch(server: Space, client: Space, bind: str, url: str, folder: Path) -> None:
    """A file of 10 MB goes through whole."""
    data = os.urandom(LARGE)
    (folder / "large").write_bytes(data)
    serve = ("python3", "-m", "http.server", "8000", "--bind", bind, "--directory", str(folder))
    with server.running(*serve):
        argv = ("curl", "-sf", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "-m", "60")
        client.run(*argv, "-o", folder / "got", f"{url}/large", timeout_s=120)
    assert hashlib.sha256((folder / "got").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_a_large_file(router: Router, tmp_path: Path) -> None:
    fetch(router.right, router.left, "10.3.0.1", "http://10.3.0.1:8000", tmp_path)
    fetch(router.right, router.left, "2001:db8:2::2", "http://[2001:db8:2::2]:8000", tmp_path)


def test_iperf3_through_it(router: Router) -> None:
    udp = ("-c", "10.2.0.2", "-u", "-b", "5M", "-l", "1000")
    for words in (("-c", "10.2.0.2"), ("-c", "2001:db8:2::2", "-R"), udp):
        with iperf3(router.right):
            said = json.loads(router.left.run("iperf3", "-J", "-t", "2", *words))
        assert "error" not in said, (said["error"], router.ask("counters"))
        got = said["end"]["sum" if words == udp else "sum_received"]
        print(words, f"{got['bits_per_second'] / 1e6:.0f} Mbit/s")
        assert got["bits_per_second"] > 1e6 and got.get("lost_percent", 0) < 50
    said = router.ask("counters")
    assert said["forwarded_bytes"] > 1 << 20 and said["bad"] == 0


# ---- VLANs --------------------------------------------------------------------------------------------


@pytest.fixture
def tagged(boot: Boot, tmp_path: Path) -> Iterator[tuple[Router, Router]]:
    """left - VM - VLAN 7 - VM - right; without a tag the link between the VMs is another network."""
    with spaces("l", "r") as (left, right):
        vms = []
        for n, (space, link) in enumerate(((left, "listen"), (right, "connect")), 1):
            outer = f"tap:{space.tap},mac={MACS[n - 1]},ip=10.{n}.0.1/24,ip6=2001:db8:{n}::1/64"
            inner = f"{link}:{tmp_path}/link,ip=10.9.0.{n}/24"
            o = 3 - n
            args = ["1", f"10.7.0.{n}/24", f"2001:db8:7::{n}"]
            args += [f"10.{o}.0.0/24", f"2001:db8:{o}::/64", f"10.7.0.{o}", f"2001:db8:7::{o}"]
            vms.append(boot(HERE / "guest_packet_vlan.py", deadline_s=DEADLINE_S, net=[outer, inner], args=args))
            vms[-1].expect_exact("forwarding")
            space.join(f"10.{n}.0.2/24", f"2001:db8:{n}::2/64", gateways=(f"10.{n}.0.1", f"2001:db8:{n}::1"))
        until_there(left, "10.2.0.2")
        yield Router(vms[0], left, right), Router(vms[1], left, right)
        for vm in vms:
            vm.send(b"stop\n")
            assert vm.wait() == 0
            assert "Traceback" not in vm.console_text and "PANIC" not in vm.console_text


def test_a_vlan_is_a_card_of_its_own(tagged: tuple[Router, Router], tmp_path: Path) -> None:
    one = tagged[0]
    for address in ("10.2.0.2", "10.7.0.1", "2001:db8:2::2", "2001:db8:7::1"):
        for size in (0, 56, 1452):
            assert one.left.call(packetpeer.ping, address, size), (address, size)
    fetch(one.right, one.left, "10.2.0.2", "http://10.2.0.2:8000", tmp_path)
    fetch(one.left, one.right, "2001:db8:1::2", "http://[2001:db8:1::2]:8000", tmp_path)
    for router in tagged:
        said, rules = router.ask("counters"), router.ask("rules")
        assert said["bad"] == said["spoofed"] == said["filtered"] == 0
        assert rules["tagged"] == rules["came"] and rules["came"][0] > 100 and rules["left"][0] > 100
        assert {r["prefix"]: r["card"] for r in router.ask("routes")}["10.7.0.0/24"] == 2
        text = router.vm.console_text
        assert text.count("refused ValueError") == 2 and "refused OSError 19" in text and "refused OSError 17" in text


# ---- bridges ------------------------------------------------------------------------------------------


@pytest.fixture
def bridged(boot: Boot) -> Iterator[Router]:
    with spaces("l", "r") as (left, right):
        net = [f"tap:{space.tap},mac={mac},ip=none,ip6=none" for space, mac in zip((left, right), MACS, strict=True)]
        vm = boot(HERE / "guest_packet_bridge.py", deadline_s=DEADLINE_S, net=net, memory="64M")
        vm.expect_exact("forwarding")
        left.join("10.1.0.2/24", "2001:db8:1::2/64")
        right.join("10.1.0.3/24", "2001:db8:1::3/64")
        until_there(left, "10.1.0.1")
        yield Router(vm, left, right)
        vm.send(b"stop\n")
        assert vm.wait() == 0
        assert "Traceback" not in vm.console_text and "PANIC" not in vm.console_text


def test_a_bridge(bridged: Router, tmp_path: Path) -> None:
    left, right = bridged.left, bridged.right
    for address in ("10.1.0.3", "10.1.0.1", "2001:db8:1::3", "2001:db8:1::1"):
        for size in (0, 56, 1452):
            assert left.call(packetpeer.ping, address, size), (address, size)
    for address in ("10.1.0.2", "10.1.0.1", "2001:db8:1::2", "2001:db8:1::1"):
        assert right.call(packetpeer.ping, address), address
    fetch(right, left, "10.1.0.3", "http://10.1.0.3:8000", tmp_path)
    fetch(left, right, "2001:db8:1::2", "http://[2001:db8:1::2]:8000", tmp_path)
    said = bridged.ask("counters")
    assert said["bridged"] > 100 and said["bad"] == said["no_room"] == said["filtered"] == 0
    assert bridged.ask("rules")["across"][0] > 50
    for card in ("ValueError", "OSError"):
        assert f"refused [0{', 1' if card == 'OSError' else ''}] {card}" in bridged.vm.console_text


# ---- rules and translated addresses -------------------------------------------------------------------


def test_connections_from_inside_alone(firewall: Router, tmp_path: Path) -> None:
    left, right = firewall.left, firewall.right
    for address in ("10.2.0.2", "2001:db8:2::2", "10.1.0.1", "2001:db8:1::1"):
        assert left.call(packetpeer.ping, address, 1000), address
    for address in ("10.2.0.1", "2001:db8:2::1"):
        assert right.call(packetpeer.ping, address), address
    assert not right.call(packetpeer.ping, "2001:db8:1::2", 56, 1.0)  # inside, from outside
    fetch(right, left, "10.2.0.2", "http://10.2.0.2:8000", tmp_path)
    fetch(right, left, "2001:db8:2::2", "http://[2001:db8:2::2]:8000", tmp_path)
    flows = [f for f in firewall.ask("flows") if f["proto"] == 6 and f["src"][0] == "10.1.0.2"]
    flow = max(flows, key=lambda f: int(f["reply_bytes"]))  # curl tries until the server is there
    assert flow["dst"] == flow["reply_src"] == ("10.2.0.2", 8000) and flow["reply_dst"][0] == "10.2.0.1"
    assert flow["replied"] and flow["reply_bytes"] > LARGE
    said = firewall.ask("counters")
    assert said["filtered"] >= 1 and said["no_flow"] == said["bad"] == said["no_route"] == 0


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_in_reverse_order(firewall: Router, version: int) -> None:
    """They wait for the first one: an echo of three fragments is answered by the host outside, and by the VM itself."""
    data, expect = Raw(b"fragment" * 500), ICMP if version == 4 else ICMPv6EchoReply
    ends = {4: ("10.1.0.2", "10.2.0.2", "10.1.0.1"), 6: ("2001:db8:1::2", "2001:db8:2::2", "2001:db8:1::1")}
    source, *targets = ends[version]
    for number, target in enumerate(targets):
        assert firewall.left.call(packetpeer.ping, target)
        if version == 4:
            parts = fragment(IP(src=source, dst=target, id=number) / ICMP(id=9) / data, 1400)
        else:
            head = IPv6(src=source, dst=target) / IPv6ExtHdrFragment(id=number)
            parts = fragment6(head / ICMPv6EchoRequest(id=9, data=bytes(data)), 1400)
        assert len(parts) == 3
        back = firewall.from_left(*reversed(parts), expect=expect)
        assert back is not None and back[expect].type == (0 if version == 4 else 129), target
    said = firewall.ask("counters")
    assert said["held"] == 4 and said["held_lost"] == 0


def test_a_port_is_forwarded(firewall: Router, tmp_path: Path) -> None:
    fetch(firewall.left, firewall.right, "10.1.0.2", "http://10.2.0.1:8080", tmp_path)
    assert firewall.ask("rules")["forwarded"][0] >= 1
    flows = [f for f in firewall.ask("flows") if f["dst"] == ("10.2.0.1", 8080)]
    assert flows and all(f["reply_src"] == ("10.1.0.2", 8000) for f in flows)
    for port, code in (("8000", 28), ("25", 28)):  # nobody answers
        argv = firewall.right.argv("curl", "-s", "-m", "2", f"http://10.2.0.1:{port}/")
        assert subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == code
    argv = firewall.left.argv("curl", "-s", "-m", "5", "http://10.2.0.2:25/")
    assert subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 7  # reset
    assert firewall.ask("counters")["rejected"] == 1


def test_iperf3_behind_one_address(firewall: Router) -> None:
    for words in ((), ("-R",), ("-P", "4")):
        with iperf3(firewall.right):
            said = json.loads(firewall.left.run("iperf3", "-J", "-t", "2", "-c", "10.2.0.2", *words))
        assert "error" not in said, (said["error"], firewall.ask("counters"))
        got = said["end"]["sum_received"]["bits_per_second"]
        print(words, f"{got / 1e6:.0f} Mbit/s")
        assert got > 1e6
