# SPDX-License-Identifier: MIT
"""images/router gives addresses away: DHCP by hand and by real clients, leases on a disk, relay agents."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from floe.testing import Boot
from tests.boot import packetpeer
from tests.boot.routerguest import Client, disk_with, kind, mac_of, option, routing
from tests.support.spaces import Space

FILE = """
domain = "home.test"

[cards]
one = 0
two = 1

[[lan]]
card = "one"
dhcp = "10.1.0.100-10.1.0.103"
lease = "10m"
ntp = "10.1.0.9"
mtu = 1400
routes = "10.9.0.0/16 via 10.1.0.8"
advertise = false

[[lan.reservation]]
mac = "02:aa:00:00:00:09"
address = "10.1.0.9"
name = "printer"

[[lan]]
card = "two"
dhcp = "10.2.0.50-10.2.0.99"

[[relayed]]
network = "10.7.0.0/24"
router = "10.7.0.1"
dhcp = "10.7.0.20-10.7.0.29"
"""
CARDS = [("ip=10.1.0.1/24",), ("ip=10.2.0.1/24", "ip6=2001:db8:2::1/64")]


def client(space: Space, number: int, **more: Any) -> Client:
    return Client(space, f"02:aa:00:00:00:{number:02x}", **more)


def test_addresses_are_given_away(boot: Boot, tmp_path: Path) -> None:
    """One conversation of each kind, its options, and what is refused."""
    with routing(boot, disk_with(tmp_path, FILE), CARDS) as router:
        left, right = router.lans
        one = client(left, 1, name="laptop")
        offer = one.discover()
        assert offer is not None and kind(offer) == "offer"
        assert offer[BOOTP].yiaddr == "10.1.0.100" and offer[IP].src == "10.1.0.1"
        assert offer[Ether].dst == one.mac and offer[IP].dst == "10.1.0.100"  # no ARP, no broadcast
        assert option(offer, "server_id") == "10.1.0.1" and option(offer, "lease_time") == 600
        assert option(offer, "router") == "10.1.0.1" and option(offer, "name_server") == "10.1.0.1"
        assert option(offer, "subnet_mask") == "255.255.255.0" and option(offer, "domain") == b"home.test"
        assert option(offer, "NTP_server") == "10.1.0.9" and option(offer, "interface-mtu") == 1400
        assert option(offer, "renewal_time") == 300 and option(offer, "rebinding_time") == 525
        ack = one.request("10.1.0.100", "10.1.0.1")
        assert kind(ack) == "ack"
        renewed = one.ask(one.frame("request", ciaddr="10.1.0.100", to="10.1.0.1"))
        assert renewed is not None and kind(renewed) == "ack" and renewed[IP].dst == "10.1.0.100"
        rebound = one.ask(one.frame("request", ciaddr="10.1.0.100"))
        assert kind(rebound) == "ack"
        rebooted = one.ask(one.frame("request", ("requested_addr", "10.1.0.100")))
        assert kind(rebooted) == "ack"
        broadcast = one.discover(flags="B")
        assert broadcast is not None and broadcast[Ether].dst == "ff:ff:ff:ff:ff:ff"
        assert kind(one.ask(one.frame("request", ("requested_addr", "10.2.0.60")))) == "nak"  # of another network
        informed = one.ask(one.frame("inform", ciaddr="10.1.0.77", to="10.1.0.1"))
        assert informed is not None and kind(informed) == "ack" and option(informed, "lease_time") is None

        assert client(left, 9).lease() == "10.1.0.9"  # reserved
        assert kind(client(left, 2).request("10.1.0.9", "10.1.0.1")) == "nak"
        assert kind(client(left, 2).request("10.1.0.100", "10.1.0.1")) == "nak"  # somebody else's
        assert client(left, 2).request("10.1.0.101", "10.1.0.66", timeout_s=1.0) is None  # another server's
        assert client(right, 1).lease() == "10.2.0.50"
        for number, mac in ((1, mac_of(0)), (2, mac_of(1))):
            assert mac != client(left, number).mac
        said = router.say("leases", r"10\.2\.0\.50 .*\n")
        assert "laptop" in said and "printer" in said


def test_a_range_that_is_used_up_and_addresses_that_others_have(boot: Boot, tmp_path: Path) -> None:
    with routing(boot, disk_with(tmp_path, FILE), CARDS) as router:
        left = router.lans[0]
        left.ip("addr", "add", "10.1.0.100/24", "dev", left.tap)  # a machine that has asked nobody
        assert client(left, 1).lease() == "10.1.0.101"
        assert client(left, 2).lease() == "10.1.0.102"
        two = client(left, 3)
        assert two.lease() == "10.1.0.103"
        assert client(left, 4).discover(timeout_s=1.5) is None
        two.ask(two.frame("release", ciaddr="10.1.0.103", to="10.1.0.1"), timeout_s=0.5)
        assert client(left, 4).lease() == "10.1.0.103"
        assert kind(two.request("10.1.0.103", "10.1.0.1")) == "nak"
        one = client(left, 1)  # finds its address taken
        one.ask(one.frame("decline", ("requested_addr", "10.1.0.101"), ("server_id", "10.1.0.1")), timeout_s=0.5)
        assert client(left, 5).discover(timeout_s=1.5) is None
        text = router.say("status", r"one +4 .*\n")
        assert "conflict" in router.say("status", r"conflict +1\n") and "exhausted" in router.say("status", "offer ")
        assert "10.1.0.100 is in use by " in str(router.vm.console_text) and text


def test_leases_outlive_the_router(boot: Boot, tmp_path: Path) -> None:
    disk = disk_with(tmp_path, FILE)
    with routing(boot, disk, CARDS) as router:
        assert client(router.lans[0], 1).lease() == "10.1.0.100"
        assert client(router.lans[0], 2, client_id=b"\0two", name="tv").lease() == "10.1.0.101"
    with routing(boot, disk, CARDS) as router:
        assert "2 leases are known, kept in /leases" in str(router.vm.console_text)
        assert kind(client(router.lans[0], 3).request("10.1.0.100", "10.1.0.1")) == "nak"
        assert client(router.lans[0], 2, client_id=b"\0two").lease() == "10.1.0.101"
        assert client(router.lans[0], 3).lease() == "10.1.0.102"
        router.crash()  # without an orderly end
    with routing(boot, disk, CARDS) as router:
        assert "3 leases are known" in str(router.vm.console_text)
        assert client(router.lans[0], 3).lease() == "10.1.0.102"


def test_a_lease_that_was_granted_is_on_the_disk(boot: Boot, tmp_path: Path) -> None:
    """The machine ends in the middle of many leases: those whose clients heard of them are known afterwards."""
    text = "probe = 0\n" + FILE.replace('"10.2.0.50-10.2.0.99"', '"10.2.0.20-10.2.0.250"')
    disk = disk_with(tmp_path, text)
    granted: dict[str, str] = {}
    with routing(boot, disk, CARDS) as router:
        right = router.lans[1]
        for number in range(60):
            one = client(right, number, name=f"host{number}")
            if number == 59:
                router.crash()
                assert one.discover(timeout_s=0.5) is None
            else:
                granted[one.mac] = one.lease()
    with routing(boot, disk, CARDS) as router:
        said = router.say("leases", rf"{max(granted.values(), key=lambda text: int(text.rsplit('.', 1)[1]))} .*two.*\n")
        for mac, address in granted.items():
            assert f"{address} " in said and mac in said, mac
        assert len(set(granted.values())) == 59 and "passed over" not in str(router.vm.console_text)


def test_a_relay_agent(boot: Boot, tmp_path: Path) -> None:
    with routing(boot, disk_with(tmp_path, FILE), CARDS) as router:
        right = router.lans[1]
        one = client(right, 1)
        frame = one.frame("discover", ("relay_agent_information", b"\1\4port"), giaddr="10.7.0.1", hops=1)
        frame[Ether].src, frame[Ether].dst = "02:aa:00:00:00:77", mac_of(1)
        frame[IP].src, frame[IP].dst, frame[UDP].sport = "10.7.0.1", "10.2.0.1", 67
        offer = one.ask(frame)
        assert offer is not None and kind(offer) == "offer" and offer[BOOTP].yiaddr == "10.7.0.20"
        assert (offer[IP].dst, offer[UDP].dport, offer[Ether].dst) == ("10.7.0.1", 67, "02:aa:00:00:00:77")
        assert option(offer, "router") == "10.7.0.1" and option(offer, "relay_agent_information") == b"\1\4port"
        frame[BOOTP].giaddr = "10.8.0.1"  # of a network that is not in the file
        assert one.ask(frame, timeout_s=1.0) is None


def test_a_flood_leaves_room_for_clients(boot: Boot, tmp_path: Path) -> None:
    """Requests from ever new hardware addresses; then a client gets its address."""
    text = FILE.replace('"10.2.0.50-10.2.0.99"', '"10.2.0.20-10.2.0.250"')
    with routing(boot, disk_with(tmp_path, text), CARDS) as router:
        right = router.lans[1]
        frames = []
        for number in range(3000):
            flooding = Client(right, f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}")
            frames.append(flooding.frame("discover"))
        draw = random.Random(5)
        for _ in range(300):  # and what is none
            lie = bytearray(bytes(frames[0]))
            for _ in range(draw.randrange(1, 40)):
                lie[draw.randrange(12, len(lie))] = draw.randrange(256)
            frames.append(Ether(bytes(lie[: draw.randrange(20, len(lie))])))
        right.call(packetpeer.exchange, right.tap, frames, lambda _: False, 2.0)
        assert client(right, 1).lease().startswith("10.2.0.")
        said = router.say("status", r"two +231 .*\n")
        assert int(said.rsplit("two", 1)[1].split()[1]) == 1  # leases
        assert client(router.lans[0], 1).lease() == "10.1.0.100"


@pytest.mark.parametrize("tool", ["udhcpc", "dhclient", "dhcpcd"])
def test_real_clients(boot: Boot, tmp_path: Path, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"SKIP: {tool} is not installed; try: apt-get install udhcpc isc-dhcp-client dhcpcd-base")
    with routing(boot, disk_with(tmp_path, FILE), CARDS) as router:
        right = router.lans[1]
        script = tmp_path / "script"
        script.write_text(_SCRIPT)
        script.chmod(0o755)
        got = tmp_path / "got"
        environment = {"GOT": str(got), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        run_client(right, tool, script, environment, tmp_path, end=False)
        deadline = time.monotonic() + 20
        while "10.2.0.50" not in (got.read_text() if got.exists() else ""):
            assert time.monotonic() < deadline, f"{tool} got nothing"
            time.sleep(0.2)
        said = json.loads(got.read_text().splitlines()[-1])
        assert said["address"] == "10.2.0.50" and said["router"] == "10.2.0.1" and said["domain"] == "home.test"
        router.say("leases", r"10\.2\.0\.50 .* two +\d+ s")
        time.sleep(2)  # it goes on in the background when its script has run, and is told to release only there
        # Some take their address away as soon as they have sent a release, which is lost while ARP is asked.
        assert right.call(packetpeer.ping, "10.2.0.1")
        run_client(right, tool, script, environment, tmp_path, end=True)
        router.vm.expect(r"10\.2\.0\.50 is released", timeout=20.0)


# For all: dhclient's and dhcpcd's variables and those of udhcpc.
_SCRIPT = """#!/bin/sh
address="${new_ip_address:-$ip}"
[ -n "$address" ] || exit 0
printf '{"address": "%s", "router": "%s", "domain": "%s"}\\n' "$address" "${new_routers:-$router}" \\
    "${new_domain_name:-$domain}" >> "$GOT"
ip addr replace "$address/24" dev "$interface"
"""


def run_client(space: Space, tool: str, script: Path, environment: dict[str, str], folder: Path, *, end: bool) -> None:
    """Have a client get its lease and stay; or release it."""
    pid = folder / "pid"
    if tool == "dhclient":
        lines = [tool, "-4", "-lf", folder / "client.leases", "-pf", pid, "-sf", script]
        lines += [word for name in environment for word in ("-e", f"{name}={environment[name]}")]
        argv = [*lines, *(["-r"] if end else ["-1"]), space.tap]
    elif tool == "dhcpcd":
        told = ["-4", "-t", "20", "-c", script, "-e", f"GOT={environment['GOT']}", "--noarp"]
        argv = [tool, *(["-4", "-k"] if end else told), space.tap]
    elif end:
        number = int(pid.read_text())
        os.kill(number, signal.SIGUSR2)
        time.sleep(1)
        os.kill(number, signal.SIGTERM)
        return
    else:
        argv = [tool, "-i", space.tap, "-p", pid, "-s", script, "-b"]
    done = subprocess.run(
        space.argv(*argv),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_real_relay_agent(boot: Boot, tmp_path: Path) -> None:
    """udhcpc, a wire, dhcrelay, and behind it the router."""
    if shutil.which("dhcrelay") is None or shutil.which("udhcpc") is None:
        pytest.skip("SKIP: dhcrelay and udhcpc are not installed; try: apt-get install isc-dhcp-relay udhcpc")
    with routing(boot, disk_with(tmp_path, FILE), CARDS) as router, namespace("far") as far:
        relay = router.lans[1]
        relay.ip("addr", "add", "10.2.0.9/24", "dev", relay.tap)
        relay.ip("link", "add", "near", "type", "veth", "peer", "name", "wire", "netns", far)
        relay.ip("addr", "add", "10.7.0.1/24", "dev", "near")
        relay.ip("link", "set", "near", "up")
        inside = Space(far, "wire")
        inside.ip("link", "set", "wire", "up")
        with relay.running("dhcrelay", "-4", "-d", "-id", "near", "-iu", relay.tap, "10.2.0.1"):
            time.sleep(1)
            inside.run("udhcpc", "-i", "wire", "-n", "-q", "-f", "-s", "/bin/true")
        router.say("leases", r"10\.7\.0\.20 .*")


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """A namespace without a tap."""
    full = f"floe-{os.getpid()}-{name}"
    subprocess.run(["ip", "netns", "add", full], check=True)
    try:
        yield full
    finally:
        subprocess.run(["ip", "netns", "del", full], check=False)
