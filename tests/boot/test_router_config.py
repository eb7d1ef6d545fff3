# SPDX-License-Identifier: MIT
"""images/router's file: what it says, and how what is wrong in it is told."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.boot import dnsguest  # noqa: F401 - images/dns, on which this image is built
from tests.boot.routermodules import IMAGE
from tests.docs.tutorial import blocks
from tests.gateway.frozen import Engine, frozen, settings

CARDS = "[cards]\nwan = 0\nlan = 1\n"
LAN = CARDS + '[[lan]]\ncard = "lan"\n'
_OWN = ("config", "dhcpmessage", "leases", "access")


@pytest.fixture
def config() -> Iterator[Any]:
    """The module config, with the packages that a VM's script has."""
    with frozen(Engine("192.0.2.1", "10.1.0.1")):
        try:
            yield importlib.import_module("config")
        finally:
            for name in _OWN:
                sys.modules.pop(name, None)


def read(config: Any, text: str, **top: object) -> Any:
    tables = settings(text).tables
    plain = {key: tables.pop(key) for key in list(tables) if key in config.DEFAULTS}
    values = SimpleNamespace(file="router.toml", tables=tables, **{**config.DEFAULTS, **plain, **top})
    return config.Config(values)


def test_a_whole_file(config: Any) -> None:
    text = LAN + (
        'dhcp = ["10.1.0.100-10.1.0.119", "10.1.0.200-10.1.0.209"]\nlease = "2h"\ndns = ["10.1.0.3", "2001:db8::3"]\n'
        'ntp = "10.1.0.4"\nmtu = 1400\nroutes = "10.9.0.0/16 via 10.1.0.8"\nprefixes = "2001:db8:7::/64"\n'
        '[[lan.reservation]]\nclient-id = "tv"\naddress = "10.1.0.9"\n'
        '[[relayed]]\nnetwork = "10.7.0.0/24"\nrouter = "none"\ndhcp = "10.7.0.5-10.7.0.9"\n[hosts]\nnas = "10.1.0.8"\n'
    )
    found = read(config, text, domain="Home.Test.", upstream=["192.0.2.53", "2001:db8::53@5353"])
    lan, far = found.lans
    assert lan.ranges == [(0x0A010064, 0x0A010077), (0x0A0100C8, 0x0A0100D1)] and lan.lease_s == 7200
    assert lan.options[121] == bytes.fromhex("100a090a010008") and lan.options[26] == b"\x05\x78"
    assert lan.dns == [0x0A010003] and len(lan.dns6) == 1 and lan.advertise and lan.reservations[0].key == b"itv"
    assert far.network == (0x0A070000, 24) and far.router == 0 and not far.advertise
    assert found.domains == ["home.test"] and found.hosts == {"nas": 0x0A010008}
    assert found.upstream == [("192.0.2.53", 53), ("2001:db8::53", 5353)]


def test_the_file_of_the_readme(config: Any) -> None:
    (block,) = [block for block in blocks((IMAGE / "README.md").read_text()) if block.kind == "toml"]
    found = read(config, "\n".join(block.lines))
    assert len(found.lans) == 1 and found.plan.cards == {"wan": 0, "lan": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[lans]\n", "lans is no table of it; there are: cards, forward, hosts, lan, nat, relayed, route"),
        ('[[lan]]\ncard = "x"\n', "lan 1: card: there is no x; there are: card0, card1"),
        ("[[lan]]\n", "lan 1: card is missing"),
        (LAN + "dhpc = 1\n", "lan 1: dhpc is no key of it; there are: card, advertise"),
        (LAN + 'dhcp = "10.1.0.9"\nlease = 5\n', "lease: 5: expected a time of 120 s or more, as 3600, 30m or 12h"),
        (LAN + 'lease = "5x"\n', "lease: '5x': expected a time"),
        (LAN + "lease = true\n", "lease: True: expected a time"),
        (LAN + 'dhcp = "10.1.0.0/24"\n', "dhcp: 10.1.0.0/24: expected a range of IPv4 addresses, a-b"),
        (LAN + 'dhcp = ["10.1.0.5-10.1.0.9", "10.1.0.9-10.1.0.12"]\n', "there is another range with some of it"),
        (LAN + 'dhcp = "10.1.0.0-10.9.0.0"\n', "more than 16384 addresses"),
        (LAN + 'router = "1.2.3"\n', "router: '1.2.3' is no address"),
        (LAN + 'dns = "me"\n', "dns: 'me' is no address"),
        (LAN + 'routes = "10.0.0.0/8"\n', "routes"),
        (LAN + 'routes = "10.0.0.0 via 10.1.0.1"\n', "expected a route, as 10.0.0.0/8 via 10.1.0.2"),
        (LAN + 'prefixes = "2001:db8::/48"\n', "expected prefixes of IPv6, each /64"),
        (LAN + "mtu = 100\n", "mtu: 100: expected 576 to 9216"),
        (LAN + 'domain = "a_b"\n', "domain: 'a_b' is no name of a domain"),
        (LAN + '[[lan.reservation]]\naddress = "10.1.0.9"\n', "reservation 1: one of mac and client-id is right"),
        (LAN + '[[lan.reservation]]\nmac = "x"\naddress = "10.1.0.9"\n', "mac: 'x' is no MAC"),
        (LAN + '[[lan.reservation]]\nmac = "02:00:00:00:00:01"\naddress = "10.1.0.9"\n' * 2, "there is another one of"),
        (LAN + '[[lan]]\ncard = "lan"\n', "card lan has two of them"),
        ('[[relayed]]\nnetwork = "10.7.0.1"\n', "network: 10.7.0.1: expected a network of IPv4"),
        ('[[relayed]]\nnetwork = "10.7.0.0/24"\n', "router is missing: an address, or none"),
        ('[hosts]\n"a.b" = "10.1.0.9"\n', "hosts: a.b: is no name"),
        ('[hosts]\na = "2001:db8::1"\n', "hosts: a: 2001:db8::1 is IPv6; expected IPv4"),
        ("hosts = 1\n", "hosts: expected a table, [hosts]"),
        ("[hosts]\na = 1\n", "hosts: a: 1: expected an address"),
        ('[hosts]\n"" = "10.1.0.8"\n', "hosts: '': is no name: letters, digits and - are right"),
        ('[hosts]\nnas = "10.1.0.8"\nNAS = "10.1.0.9"\n', "hosts: nas: there is another one of this name, in other letters"),
        ('lan = "card0"\n', "lan: expected a list of tables, each [[lan]]"),
        ("lan = [1]\n", "lan: expected a list of tables, each [[lan]]"),
        ("[[lan]]\ncard = 0\n", "lan 1: card: 0 is no name; there are: card0, card1"),
        (LAN + 'dhcp = "10.1.0.100-199"\n', "lan 1: dhcp: '10.1.0.100-199': expected a range of IPv4 addresses, a-b: '199' is no"),
        (LAN + 'ntp = "2001:db8::1"\n', "lan 1: ntp: 2001:db8::1 is IPv6; expected IPv4"),
        (LAN + 'dns = "0.0.0.0"\n', "lan 1: dns: 0.0.0.0 is no machine's address"),
        (LAN + 'routes = "10.0.0.0/8 10.1.0.2"\n', "'10.0.0.0/8 10.1.0.2': expected a route, as 10.0.0.0/8 via 10.1.0.2"),
        (LAN + 'routes = "10.1.0.0/8 via 10.1.0.2"\n', "as 10.0.0.0/8 via 10.1.0.2: '10.1.0.0/8' has bits behind its prefix"),
        (LAN + "reservation = 1\n", "lan 1: reservation: expected a list of tables, each [[lan.reservation]]"),
        (LAN + '[[lan.reservation]]\nclient-id = ""\naddress = "10.1.0.9"\n', "reservation 1: client-id: is empty"),
        (LAN + '[[lan.reservation]]\nclient-id = "a"\naddress = "10.1.0.9"\nname = "x"\n'
         '[[lan.reservation]]\nclient-id = "b"\naddress = "10.1.0.8"\nname = "X"\n', "2: there is another one of this client, a"),
        ("relayed = 1\n", "relayed: expected a list of tables, each [[relayed]]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(config: Any, text: str, said: str) -> None:
    with pytest.raises(importlib.import_module("appliance").SettingsError) as caught:
        read(config, text)
    assert said in str(caught.value) and str(caught.value).startswith("router.toml: ")


def test_settings_beside_the_tables(config: Any) -> None:
    from appliance import SettingsError

    for top, said in (
        ({"domain": "-"}, "domain: '-' is no name of a domain"),
        ({"upstream": ["here"]}, "upstream: 'here' is no address; right are "),
        ({"upstream": ["192.0.2.1@0"]}, "upstream: 192.0.2.1@0 is no ADDRESS@PORT"),
        ({"clients": ["x"]}, "clients: x is no IPv4 address"),
        ({"cache": -1}, "cache: -1 is less than 0"),
    ):
        with pytest.raises(SettingsError) as caught:
            read(config, CARDS, **top)
        assert str(caught.value).startswith(f"router.toml: {said}")
