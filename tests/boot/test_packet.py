# SPDX-License-Identifier: MIT
"""A VM with two cards as a router (guest_packet.py), between hosts that are network namespaces."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from floe.testing import Boot, Guest
from tests.boot import packetpeer
from tests.support.spaces import Space, spaces

HERE = Path(__file__).resolve().parent
DEADLINE_S = 180
WAIT_S = 20.0
LARGE = 10 << 20
MACS = ("02:00:00:00:01:01", "02:00:00:00:02:01")


@dataclass
class Router:
    """left - VM - right; behind right is 10.3.0.1, 2001:db8:3::1."""

    vm: Guest
    left: Space
    right: Space

    def ask(self, what: str) -> Any:
        """What the guest says of its counters or routes."""
        self.vm.send(what.encode() + b"\n")
        self.vm.expect(rf"{what} (.*) end", timeout=WAIT_S)
        return ast.literal_eval(self.vm.match[1])

    def from_left(self, *packets: Packet, expect: type[Packet], timeout_s: float = WAIT_S) -> Packet | None:
        """Send from the left host to the VM; what comes back there of this layer."""

        def work() -> Packet | None:
            own = packetpeer.hardware(self.left.tap)
            frames = [Ether(dst=MACS[0], src=own) / packet for packet in packets]
            return packetpeer.exchange(self.left.tap, frames, lambda f: expect in f, timeout_s)

        return self.left.call(work)


@contextlib.contextmanager
def routing(boot: Boot, guest: str, *, behind: bool) -> Iterator[Router]:
    """The VM between its hosts; behind: the right host knows the way to the left one, and has more addresses."""
    with spaces("l", "r") as (left, right):
        net = [
            f"tap:{left.tap},mac={MACS[0]},ip=10.1.0.1/24,ip6=2001:db8:1::1/64",
            f"tap:{right.tap},mac={MACS[1]},ip=10.2.0.1/24,ip6=2001:db8:2::1/64",
        ]
        vm = boot(HERE / guest, deadline_s=DEADLINE_S, net=net, memory="64M")
        vm.expect_exact("forwarding")
        left.join("10.1.0.2/24", "2001:db8:1::2/64", gateways=("10.1.0.1", "2001:db8:1::1"))
        ways = ("10.2.0.1", "2001:db8:2::1") if behind else ("2001:db8:2::1",)
        right.join("10.2.0.2/24", "2001:db8:2::2/64", gateways=ways)
        until_there(left, "10.1.0.1")
        yield Router(vm, left, right)
        vm.send(b"stop\n")
        assert vm.wait() == 0
        assert "Traceback" not in vm.console_text and "PANIC" not in vm.console_text


@pytest.fixture
def router(boot: Boot) -> Iterator[Router]:
    with routing(boot, "guest_packet.py", behind=True) as router:
        router.right.ip("addr", "add", "10.3.0.1/32", "dev", "lo")
        router.right.ip("addr", "add", "2001:db8:3::1/128", "dev", "lo")
        yield router


@pytest.fixture
def firewall(boot: Boot) -> Iterator[Router]:
    with routing(boot, "guest_packet_firewall.py", behind=False) as router:
        yield router


def until_there(space: Space, address: str) -> None:
    end = time.monotonic() + WAIT_S
    while not space.call(packetpeer.ping, address, 56, 1.0):
        assert time.monotonic() < end, f"{address} does not answer"


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
