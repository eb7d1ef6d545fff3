# SPDX-License-Identifier: MIT
"""Networks between the VMs of a stack on two hosts: a bridge that each of them has, and VXLANs."""

from __future__ import annotations

import errno
import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from floe.cli import main
from floe.compose import links, stackfile
from floe.compose.hosted import Fleet
from floe.compose.links import Link
from floe.errors import ConfigError, FloeError, HostError
from floe.fleet.vms import Vms
from floe.hosts.table import LibvirtHost, SshHost
from tests.support import libvirthosts
from tests.support.fixtures import REPO
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts

STORE = """
import network, socket
s = socket.socket()
s.bind(("0.0.0.0", 7))
s.listen(8)
print("serving at", network.LAN(0).ifconfig()[0])
while True:
    client, address = s.accept()
    client.sendall(b"apples for " + address[0].encode() + b"." * 60000)
    client.close()
"""
ASK = """
import os, socket, time
s = socket.socket()
s.connect(socket.getaddrinfo(os.getenv("STORE"), 7)[0][-1])
got = b""
while data := s.recv(4096):
    got += data
s.close()
print("got", len(got), got.decode().strip("."))
while True:
    time.sleep(1)
"""
FILE = """
name = "shop"
hosts = ["east", "west"]
[host.west]
labels = ["ssd"]
[host.east]
labels = ["hdd"]
[network.lan]
{network}
subnet = "10.77.0.0/24"
[vm.store]
app = "store.py"
accel = "{accel}"
networks = ["lan"]
place = {{ label = "ssd" }}
ready = {{ line = "serving" }}
[vm.ask]
app = "ask.py"
accel = "{accel}"
networks = ["lan"]
env = {{ STORE = "10.77.0.2" }}
after = ["store"]
place = {{ label = "hdd" }}
ready = {{ line = "apples" }}
"""

NAMES = """
[vm.names]
app = "names"
accel = "{accel}"
networks = {{ lan = "10.77.0.53" }}
place = {{ label = "hdd" }}
ready = {{ line = "serving 1 zone" }}
"""
ZONE = """
$ORIGIN shop.
$TTL 60
@ SOA names root 1 60 60 60 60
@ NS names
names A 10.77.0.53
store A 10.77.0.2
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtHosts]:
    with libvirthosts.in_namespaces(tmp_path_factory.mktemp("hosts"), (EAST, WEST)) as made:
        yield made


class Shop:
    """A stack in one folder, whose file is filled in."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        (folder / "store.py").write_text(STORE)
        (folder / "ask.py").write_text(ASK)

    def write(self, network: str, accel: str = "auto", text: str = FILE) -> None:
        (self.folder / "compose.toml").write_text(text.format(network=network, accel=accel))

    def compose(self, verb: str, *words: str, code: int = 0) -> tuple[str, str]:
        """Standard output and error of `floe compose VERB`, in this process."""
        self._capsys.readouterr()
        found = main.run(["compose", verb, str(self.folder), *words])
        out, err = self._capsys.readouterr()
        assert found == code, err + out
        return out, err


@pytest.fixture(scope="module")
def known(two: LibvirtHosts) -> Iterator[LibvirtHosts]:
    """The hosts, as this process's table has them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in two.environment.items():
            patch.setenv(name, value)
        yield two


@pytest.fixture
def shop(known: LibvirtHosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shop]:
    made = Shop(tmp_path, capsys)
    yield made
    made.compose("down", "--timeout", "0")


def test_vms_of_two_hosts_talk_over_a_bridge_that_both_have(two: LibvirtHosts, shop: Shop, accel: str) -> None:
    for name in (EAST, WEST):
        two.bridge(name)
    # On a q35, and with a card for ports before that on the bridge: the guest has them in this order there, too.
    text = FILE.replace("[vm.ask]", 'machine = "q35"\nports = ["0.0.0.0:7008:7"]\n[vm.ask]')
    shop.write('bridge = "br0"', accel, text)
    assert [line.split() for line in shop.compose("plan")[0].splitlines()] == [
        ["start", "store", WEST, "10.77.0.2"],
        ["start", "ask", EAST, "10.77.0.3"],
    ]
    shop.compose("up", "-d")
    assert shop.compose("logs")[0].splitlines() == [
        "ask   | got 60020 apples for 10.77.0.3",
        "store | serving at 10.0.2.15",
    ]
    assert {vm["label"]: vm["addresses"] for vm in json.loads(shop.compose("ps", "--json")[0])} == {
        "ask": {"lan": "10.77.0.3"},
        "store": {"lan": "10.77.0.2"},
    }
    assert "nothing to do" in shop.compose("up", "-d")[1]
    addresses_stay(shop, accel, text)


def addresses_stay(shop: Shop, accel: str, text: str) -> None:
    """When a VM comes that is before others in the file; one that takes another's address has it."""
    before, _, rest = text.partition("[vm.store]")
    more = '[vm.first]\napp = "store.py"\nnetworks = {{ lan = "10.77.0.3" }}\nplace = {{ label = "hdd" }}\n[vm.store]'
    shop.write('bridge = "br0"', accel, before + more + rest)
    assert [line.split(maxsplit=4) for line in shop.compose("plan")[0].splitlines()] == [
        ["start", "first", EAST, "10.77.0.3"],
        ["keep", "store", WEST, "10.77.0.2"],
        ["replace", "ask", EAST, "10.77.0.4", "networks changed"],
    ]


def test_a_bridge_that_a_host_has_not(shop: Shop) -> None:
    shop.write('bridge = "nobr"')
    assert "west has no bridge nobr" in shop.compose("up", "-d", code=126)[1]


def test_vms_of_two_hosts_talk_over_a_vxlan_between_these(two: LibvirtHosts, shop: Shop, accel: str) -> None:
    split = {name: in_pieces(two, name) for name in (EAST, WEST)}
    text = FILE.replace("[vm.ask]", 'ports = ["0.0.0.0:7007:7"]\n[vm.ask]')
    text = text.replace('"10.77.0.2"', '"store.shop"').replace('["store"]', '["store", "names"]') + NAMES
    names = shop.folder / "names"
    shutil.copytree(REPO / "images" / "dns", names, ignore=shutil.ignore_patterns("data", "build"))
    (names / "data" / "zones").mkdir(parents=True)
    (names / "data" / "zones" / "shop.zone").write_text(ZONE)
    shop.write('dns = "10.77.0.53"', accel, text)
    shop.compose("up", "-d")
    assert shop.compose("logs", "ask", "store")[0].splitlines() == [
        "ask   | got 60020 apples for 10.77.0.3",
        "store | serving at 10.0.2.15",
    ]
    assert "nothing to do" in shop.compose("up", "-d")[1]
    assert {name: in_pieces(two, name) for name in (EAST, WEST)} == split
    with socket.create_connection((two.addresses[WEST], 7007), 60) as s:
        assert s.recv(6) == b"apples"
    link = Link.of("shop", "lan")
    taps = two.run(EAST, "ip", "-o", "link", "show", "master", link.bridge).splitlines()
    assert [mtu(tap) for tap in taps] == [1450] * 3, taps  # the VXLAN, and two VMs

    # Another network in its place: the VMs are in it, and nothing is left of the first.
    shop.write('dns = "10.77.0.53"', accel, text.replace("lan", "net"))
    assert "store is started on west: networks changed" in shop.compose("up", "-d")[1]
    assert theirs(two) == {name: {Link.of("shop", "net").bridge, Link.of("shop", "net").name} for name in (EAST, WEST)}
    shop.compose("down", "--timeout", "0")
    assert theirs(two) == {EAST: set(), WEST: set()}


def in_pieces(two: LibvirtHosts, name: str) -> str:
    """How many packets a host has sent in pieces."""
    names, values = (line.split() for line in two.run(name, "grep", "^Ip:", "/proc/net/snmp").splitlines())
    return values[names.index("FragCreates")]


def mtu(line: str) -> int:
    found = re.search(r" mtu (\d+) ", line)
    assert found, line
    return int(found[1])


def theirs(two: LibvirtHosts) -> dict[str, set[str]]:
    """Links of floe's on each host."""
    return {
        name: set(re.findall(r"^\d+: (floe\w+)[:@]", two.run(name, "ip", "-o", "link"), re.MULTILINE))
        for name in (EAST, WEST)
    }


@pytest.fixture(scope="module")
def fleet(known: LibvirtHosts) -> Iterator[dict[str, Vms]]:
    with Fleet((EAST, WEST)) as opened:
        yield opened.hosts


@pytest.fixture
def alone(fleet: dict[str, Vms], tmp_path: Path) -> Iterator[Path]:
    """The path of a file for the stack `s`, of which links alone are made on the hosts."""
    yield tmp_path / "compose.toml"
    links.clear("s", fleet)


def stack(path: Path, more: str = "") -> stackfile.StackFile:
    path.write_text(f'name = "s"\nhosts = ["east", "west"]\n{more}\n[network.n]\n[vm.a]\napp = "a.py"\n')
    return stackfile.load(path, {})


# Sends a datagram of so many bytes, which no one may cut, to where nobody listens: whether that host says so.
SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
s.settimeout(30)
s.connect(("10.78.0.2", 9))
try:
    s.send(bytes(int(sys.argv[1])))
    s.recv(1)
except OSError as e:
    print(type(e).__name__, e.errno)
"""


@pytest.mark.parametrize(("version", "room"), [(4, 1450), (6, 1430)])
def test_frames_fit_between_the_hosts(
    two: LibvirtHosts, fleet: dict[str, Vms], alone: Path, version: int, room: int
) -> None:
    addresses = dict(two.addresses)
    if version == 6:
        addresses = {EAST: "fd00:77::2", WEST: "fd00:77::3"}
        for name, address in addresses.items():
            card = two.run(name, "ip", "-o", "address", "show", "to", two.addresses[name]).split()[1]
            two.run(name, "ip", "address", "replace", f"{address}/64", "dev", card, "nodad")
    file = stack(alone, "".join(f'[host.{name}]\naddress = "{address}"\n' for name, address in addresses.items()))
    link = Link.of("s", "n")
    assert links.have(file, "s", fleet) == room
    for number, name in enumerate((EAST, WEST), 1):
        two.run(name, "ip", "address", "add", f"10.78.0.{number}/24", "dev", link.bridge)
    before = in_pieces(two, EAST)
    headers = 28  # of IPv4 and UDP
    assert two.run(EAST, "python3", "-c", SEND, str(room - headers)).split()[0] == "ConnectionRefusedError"
    assert two.run(EAST, "python3", "-c", SEND, str(room - headers + 1)).split()[1] == str(errno.EMSGSIZE)
    assert in_pieces(two, EAST) == before
    # A host that was of the stack is not any more, and each other one is known once.
    gone = addresses[WEST] + "9"
    two.run(EAST, "bridge", "fdb", "append", "00:00:00:00:00:00", "dev", link.name, "dst", gone)
    assert peers(two, EAST, link) == {addresses[WEST], gone}
    links.have(file, "s", fleet)
    assert peers(two, EAST, link) == {addresses[WEST]}
    links.clear("another", fleet)
    links.clear("s", fleet, ["n"])
    assert {len(found) for found in theirs(two).values()} == {2}
    links.clear("s", fleet)
    assert theirs(two) == {EAST: set(), WEST: set()}


def test_links_are_made_and_removed_by_one_script(
    two: LibvirtHosts, fleet: dict[str, Vms], alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three networks that were there one is in the file still, and in another one is a VM."""
    links.have(stack(alone, "[network.old]\n[network.used]"), "s", fleet)
    asked: list[str] = []
    run = links._run

    def noted(place: LibvirtHost, script: str) -> str:
        asked.append(place.name)
        return run(place, script)

    monkeypatch.setattr(links, "_run", noted)
    links.have(stack(alone), "s", fleet, ["used"])
    assert sorted(asked) == [EAST, EAST, WEST, WEST]  # how long packets may be is asked first
    left = {word for name in ("n", "used") for word in (Link.of("s", name).bridge, Link.of("s", name).name)}
    assert theirs(two) == {EAST: left, WEST: left}


def peers(two: LibvirtHosts, name: str, link: Link) -> set[str]:
    entries = two.run(name, "bridge", "fdb", "show", "dev", link.name)
    found = re.findall(r"^00:00:00:00:00:00 dst (\S+)", entries, re.MULTILINE)
    assert len(found) == len(set(found))
    return set(found)


def test_a_link_of_somebody_elses_is_not_touched(two: LibvirtHosts, fleet: dict[str, Vms], alone: Path) -> None:
    bridge = Link.of("s", "n").bridge
    two.run(WEST, "ip", "link", "add", bridge, "type", "bridge")
    try:
        with pytest.raises(HostError, match=f"west: there is a link {bridge} that is not this stack's"):
            links.have(stack(alone), "s", fleet)
        links.clear("s", fleet)
        assert theirs(two) == {EAST: set(), WEST: {bridge}}
        assert "state DOWN" in two.run(WEST, "ip", "link", "show", bridge)
    finally:
        two.run(WEST, "ip", "link", "del", bridge)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "west: the other hosts' address of it is none of its own"),
        ("192.0.2.7", "east: no way leads to the other host at 192.0.2.7"),
    ],
)
def test_an_address_that_is_not_a_host_s_own(
    two: LibvirtHosts, fleet: dict[str, Vms], alone: Path, address: str, problem: str
) -> None:
    address = address or f"{two.addresses[WEST]}0"  # of the same network
    with pytest.raises(HostError, match=problem):
        links.have(stack(alone, f'[host.west]\naddress = "{address}"\n'), "s", fleet)


@pytest.mark.parametrize(
    ("east", "west", "problem"),
    [
        ("192.0.2.1", "192.0.2.1", "east and west have the same address 192.0.2.1"),
        ("192.0.2.1", "2001:db8::1", "east has the address 192.0.2.1 and west 2001:db8::1: one is IPv6"),
    ],
)
def test_addresses_that_do_not_fit(tmp_path: Path, east: str, west: str, problem: str) -> None:
    more = f'[host.east]\naddress = "{east}"\n[host.west]\naddress = "{west}"\n'
    with pytest.raises(FloeError, match=problem):
        links.have(stack(tmp_path / "compose.toml", more), "s", {})


def test_the_picture_has_the_bridges_of_the_hosts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "compose.toml"
    stack(path)
    assert main.run(["compose", "graph", str(path)]) == 0
    drawn = capsys.readouterr().out
    assert f"bridge {Link.of('s', 'n').bridge}" in drawn and "names at" not in drawn


def test_who_is_not_root_on_a_host_gets_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\n[ "$(id -u)" != 0 ] || exec setpriv --reuid 65534 --clear-groups sh\nexec sh\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("FLOE_SSH", str(ssh))
    place = LibvirtHost(EAST, "qemu", "system", ssh=SshHost(EAST, "east.example"))
    hosts = {EAST: cast("Vms", SimpleNamespace(host=SimpleNamespace(place=place)))}
    file = stack(tmp_path / "compose.toml", '[host.east]\naddress = "192.0.2.1"\n[host.west]\naddress = "192.0.2.2"\n')
    with pytest.raises(HostError, match="east: a network between hosts takes root's rights there") as told:
        links.have(file, "s", hosts)
    assert told.value.hint == 'root@ in the URI of east, or bridge = "br0" of the host\'s own'


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        ('bridge = "b/r"', "network.lan.bridge: 'b/r' is no name of a bridge"),
    ],
)
def test_a_network_that_makes_no_sense_between_hosts(tmp_path: Path, network: str, problem: str) -> None:
    (tmp_path / "compose.toml").write_text(FILE.format(network=network, accel="auto"))
    with pytest.raises(ConfigError, match=problem):
        stackfile.load(tmp_path, {})
