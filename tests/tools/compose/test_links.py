# SPDX-License-Identifier: MIT
"""Networks between the VMs of a stack on two hosts: a bridge that each of them has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.cli import main
from floe.compose import stackfile
from floe.errors import ConfigError
from tests.support import libvirthosts
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts

STORE = """
import network, socket
s = socket.socket()
s.bind(("0.0.0.0", 7))
s.listen(8)
print("serving at", network.LAN(0).ifconfig()[0])
while True:
    client, address = s.accept()
    client.sendall(b"apples for " + address[0].encode())
    client.close()
"""
ASK = """
import os, socket, time
s = socket.socket()
s.connect(socket.getaddrinfo(os.getenv("STORE"), 7)[0][-1])
print("got", s.recv(100).decode())
s.close()
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


@pytest.fixture
def shop(
    two: LibvirtHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shop]:
    for name, value in two.environment.items():
        monkeypatch.setenv(name, value)
    made = Shop(tmp_path, capsys)
    yield made
    made.compose("down", "--timeout", "0")


def test_vms_of_two_hosts_talk_over_a_bridge_that_both_have(two: LibvirtHosts, shop: Shop, accel: str) -> None:
    for name in (EAST, WEST):
        two.bridge(name)
    shop.write('bridge = "br0"', accel)
    assert [line.split() for line in shop.compose("plan")[0].splitlines()] == [
        ["start", "store", WEST, "10.77.0.2"],
        ["start", "ask", EAST, "10.77.0.3"],
    ]
    shop.compose("up", "-d")
    assert shop.compose("logs")[0].splitlines() == ["ask   | got apples for 10.77.0.3", "store | serving at 10.77.0.2"]
    assert {vm["label"]: vm["addresses"] for vm in json.loads(shop.compose("ps", "--json")[0])} == {
        "ask": {"lan": "10.77.0.3"},
        "store": {"lan": "10.77.0.2"},
    }
    assert "nothing to do" in shop.compose("up", "-d")[1]
    addresses_stay(shop, accel)


def addresses_stay(shop: Shop, accel: str) -> None:
    """When a VM comes that is before others in the file; one that takes another's address has it."""
    before, _, rest = FILE.partition("[vm.store]")
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


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        ("", "network.lan.bridge: between hosts a network is a bridge that each of them has"),
        ('bridge = "b/r"', "network.lan.bridge: 'b/r' is no name of a bridge"),
    ],
)
def test_a_network_that_makes_no_sense_between_hosts(tmp_path: Path, network: str, problem: str) -> None:
    (tmp_path / "compose.toml").write_text(FILE.format(network=network, accel="auto"))
    with pytest.raises(ConfigError, match=problem):
        stackfile.load(tmp_path, {})
