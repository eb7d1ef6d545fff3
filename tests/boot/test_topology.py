# SPDX-License-Identifier: MIT
"""images/topology: what passes through the firewall and the router, and what must not, by packets that are sent; and
several such stacks side by side, of which FLOE_STACKS says how many."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet, Raw

from floe.compose import graph, stackfile
from floe.testing import compose
from floe.testing.stack import Stack
from tests.boot import packetpeer
from tests.support.command import FLOE
from tests.support.fixtures import REPO
from tests.support.spaces import Space, spaces
from tests.support.stacks import Stacks, left
from tests.support.vms import log
from tests.support.wires import Station, joined

IMAGE = REPO / "images" / "topology"
STACKS = int(os.environ.get("FLOE_STACKS", "2"))
FIREWALL, ROUTER, DMZ_GATEWAY, INSIDE_GATEWAY = "203.0.113.2", "192.0.2.3", "198.51.100.2", "10.30.0.2"
WEB, NAMES = "198.51.100.80", "198.51.100.53"
NAME = "www.classic.example"
PAGE = (REPO / "images" / "web" / "data" / "index.html").stat().st_size
REACHABLE = f"all reachable: {NAME} is {WEB} and has a page of {PAGE} bytes"
QUIET_S = 2.0  # within which nothing comes where nothing may
ANSWER_S = 10.0


@dataclass
class Hosts:
    """Of the test's own, one in each network."""

    outside: Station
    dmz: Station
    inside: Station


@pytest.fixture
def classic(accel: str) -> Iterator[Stack]:
    with compose(IMAGE, profiles=["desk"], variables={"ACCEL": accel}) as stack:
        yield stack
        for vm in ("firewall", "router", "names", "web", "client", "desk"):
            assert stack.status(vm).state == "running"
            assert "Traceback" not in stack.log(vm)
            assert "PANIC" not in stack.log(vm)


@pytest.fixture
def hosts(classic: Stack) -> Iterator[Hosts]:
    with (
        Station(classic.socket("outside"), "203.0.113.99", "02:00:00:00:00:01") as outside,
        Station(classic.socket("dmz"), "198.51.100.99", "02:00:00:00:00:02") as dmz,
        Station(classic.socket("inside"), "10.30.0.99", "02:00:00:00:00:03") as inside,
    ):
        yield Hosts(outside, dmz, inside)


def query(source: str, ident: int) -> Packet:
    """For the name of the web server."""
    return IP(src=source, dst=NAMES) / UDP(sport=4000 + ident, dport=53) / DNS(id=ident, rd=0, qd=DNSQR(qname=NAME))


def answered(station: Station, ident: int, timeout_s: float = ANSWER_S) -> bool:
    """Whether the answer comes there."""
    found = station.wait(lambda p: DNS in p and p[DNS].id == ident and p[IP].src == NAMES, timeout_s)
    return found is not None and found[DNS].an[0].rdata == WEB


def syn(source: str, target: str, port: int, sport: int, flags: str = "S") -> Packet:
    return IP(src=source, dst=target) / TCP(sport=sport, dport=port, flags=flags, seq=1000 + (flags == "R"))


def datagram(source: str, target: str, word: bytes) -> Packet:
    return IP(src=source, dst=target) / UDP(sport=5001, dport=5002) / Raw(word)


def brought(station: Station, word: bytes, timeout_s: float = ANSWER_S) -> bool:
    """Whether a packet with this in it comes there."""
    return station.wait(lambda p: word in bytes(p), timeout_s) is not None


def test_what_passes_and_what_does_not(classic: Stack, hosts: Hosts) -> None:
    for vm in ("client", "desk"):
        assert REACHABLE in classic.log(vm)
        assert "not reachable" not in classic.log(vm)
    outside, dmz, inside = hosts.outside, hosts.dmz, hosts.inside

    # What passes: questions and requests from outside; whatever inside begins, and its answers.
    outside.send(query(outside.address, 1), via=FIREWALL)
    assert answered(outside, 1)
    outside.send(syn(outside.address, WEB, 80, 2000), via=FIREWALL)
    said = outside.wait(lambda p: TCP in p and p[TCP].dport == 2000)
    assert said is not None
    assert (said[IP].src, str(said[TCP].flags)) == (WEB, "SA")
    outside.send(syn(outside.address, WEB, 80, 2000, "R"), via=FIREWALL)
    inside.send(datagram(inside.address, outside.address, b"out"), via=INSIDE_GATEWAY)
    assert brought(outside, b"out")
    back = IP(src=outside.address, dst=inside.address) / UDP(sport=5002, dport=5001) / Raw(b"back")
    outside.send(back, via=FIREWALL)
    assert brought(inside, b"back")
    inside.send(datagram(inside.address, dmz.address, b"to the servers"), via=INSIDE_GATEWAY)
    assert brought(dmz, b"to the servers")
    answer = IP(src=dmz.address, dst=DMZ_GATEWAY) / UDP(sport=5002, dport=dmz.came[-1][UDP].sport) / Raw(b"answered")
    dmz.send(answer, via=DMZ_GATEWAY)
    assert brought(inside, b"answered")  # behind the router's address
    dmz.find(NAMES)
    dmz.send(query(dmz.address, 2), via=NAMES)
    assert answered(dmz, 2)  # it comes to this host, where one is asked for in its name

    # What does not: all of it is sent, then nothing comes.
    for station in (outside, dmz, inside):
        station.forget()
    everybody = (WEB, NAMES, FIREWALL, ROUTER, DMZ_GATEWAY, INSIDE_GATEWAY, inside.address, dmz.address)
    outside.send(*(IP(src=outside.address, dst=to) / ICMP(id=7) / Raw(b"ping") for to in everybody), via=FIREWALL)
    closed = [(WEB, port) for port in (22, 53, 443, 9100)] + [(NAMES, port) for port in (80, 9100)]
    closed += [(to, port) for to in (FIREWALL, ROUTER, DMZ_GATEWAY, inside.address) for port in (22, 53, 80)]
    outside.send(*(syn(outside.address, to, port, 3000) for to, port in closed), via=FIREWALL)
    outside.send(*(syn(outside.address, WEB, 80, 3001, flags) for flags in ("A", "SA", "F", "", "FPU")), via=FIREWALL)
    outside.send(datagram(outside.address, inside.address, b"begun outside"), via=FIREWALL)
    outside.send(datagram(outside.address, dmz.address, b"begun outside"), via=FIREWALL)
    lies = [dmz.address, inside.address, "192.0.2.99", WEB, FIREWALL, "127.0.0.1", "224.0.0.1"]
    outside.send(*(query(source, 10 + n) for n, source in enumerate(lies)), via=FIREWALL)
    dmz.send(
        *(datagram(dmz.address, to, b"begun in the dmz") for to in (inside.address, outside.address)), via=DMZ_GATEWAY
    )
    dmz.send(datagram(inside.address, outside.address, b"lie of the dmz"), via=DMZ_GATEWAY)
    inside.send(datagram("203.0.113.77", outside.address, b"lie of inside"), via=INSIDE_GATEWAY)
    for station in (outside, dmz, inside):
        came = station.wait(station.is_for, QUIET_S)
        assert came is None, came.show(dump=True)

    # And it goes on.
    outside.send(query(outside.address, 3), via=FIREWALL)
    assert answered(outside, 3)
    for vm in ("client", "desk"):
        assert "not reachable" not in classic.log(vm)


@pytest.fixture
def host(classic: Stack) -> Iterator[Space]:
    """A namespace outside."""
    with spaces("o") as (space,), joined(space, classic.socket("outside")):
        space.join("203.0.113.50/24", gateways=(FIREWALL,))
        yield space


def ports(host: Space, *words: str) -> dict[str, str]:
    """What nmap finds: "80/tcp": "open"."""
    said = host.run("nmap", "-n", "-Pn", "--max-retries", "2", *words, timeout_s=120)
    return dict(re.findall(r"^(\d+/\w+) +(\S+)", said, re.MULTILINE))


@pytest.mark.any_accel
def test_programs_from_outside(host: Space) -> None:
    assert host.run("dig", "+short", f"@{NAMES}", NAME).split() == [WEB]
    assert host.run("dig", "+short", "+tcp", f"@{NAMES}", NAME).split() == [WEB]
    page = host.run("curl", "-sS", "-m", "20", "--resolve", f"{NAME}:80:{WEB}", f"http://{NAME}/")
    assert len(page) == PAGE
    for target in (WEB, FIREWALL):
        assert not host.call(packetpeer.ping, target, 56, QUIET_S), target
    tcp = "22,53,80,443,9100"
    filtered = {f"{port}/tcp": "filtered" for port in tcp.split(",")}
    assert ports(host, "-sS", "-p", tcp, WEB) == filtered | {"80/tcp": "open"}
    assert ports(host, "-sS", "-p", tcp, NAMES) == filtered | {"53/tcp": "open"}
    assert ports(host, "-sS", "-p", tcp, FIREWALL) == filtered
    assert ports(host, "-sA", "-p", tcp, WEB) == filtered  # the firewall knows states
    assert ports(host, "-sU", "-p", "53,123", NAMES) == {"53/udp": "open", "123/udp": "open|filtered"}


# ---- several side by side -----------------------------------------------------------------------------


@pytest.mark.any_accel
@pytest.mark.limit(1800)
def test_stacks_side_by_side(accel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCEL", accel)
    folders = [tmp_path / f"s{n}" for n in range(STACKS)]
    with Stacks(tmp_path, monkeypatch) as stacks:
        for folder in folders:
            folder.symlink_to(IMAGE)
            stacks.compose("plan", folder)  # builds

        def together(*words: str) -> float:
            begin = time.monotonic()
            running = [
                subprocess.Popen([*FLOE, "compose", words[0], str(folder), *words[1:]], stderr=subprocess.PIPE)
                for folder in folders
            ]
            ends = [(process.communicate(timeout=900), process.returncode) for process in running]
            assert [code for _, code in ends] == [0] * len(folders), ends
            return time.monotonic() - begin

        print(f"{STACKS} stacks, {5 * STACKS} VMs, {accel}: all reachable after {together('up', '-d'):.1f} s")
        for folder in folders:
            stacks.folder = folder
            assert {vm: told["ready"] for vm, told in stacks.ps().items()} == dict.fromkeys(
                ("firewall", "router", "names", "web", "client"), True
            )
            assert REACHABLE in log(f"{folder.name}.client")
        print(f"ended after {together('down'):.1f} s")
    assert left() == []


# ---- the picture --------------------------------------------------------------------------------------


def test_the_picture_is_the_file_s() -> None:
    """`floe compose graph images/topology -o images/topology/topology.svg` makes it."""
    drawn = graph.svg(stackfile.load(IMAGE, {}), {}, {})
    assert (IMAGE / "topology.svg").read_text(encoding="utf-8") == drawn
