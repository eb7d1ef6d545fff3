# SPDX-License-Identifier: MIT
"""--allow's words, and the rules that are made of them."""

from __future__ import annotations

import json

import pytest

from floe.errors import FloeError, UsageError
from floe.spec import egress
from floe.spec.egress import Egress, Target
from floe.spec.network import Card
from floe.spec.ports import Forward


@pytest.mark.parametrize(
    ("text", "target", "again"),
    [
        ("192.0.2.1:443", Target("192.0.2.1", 443), "192.0.2.1:443"),
        ("API.Example.com.:443", Target("api.example.com", 443), "api.example.com:443"),
        ("db_1:5432/tcp", Target("db_1", 5432), "db_1:5432"),
        ("ntp.example.com:123/udp", Target("ntp.example.com", 123, "udp"), "ntp.example.com:123/udp"),
        ("[2001:DB8::1]:443", Target("2001:db8::1", 443), "[2001:db8::1]:443"),
        ("[::ffff:192.0.2.1]:1", Target("192.0.2.1", 1), "192.0.2.1:1"),
    ],
)
def test_what_was_typed(text: str, target: Target, again: str) -> None:
    assert (egress.parse_target(text), str(target)) == (target, again)
    assert egress.parse_target(again) == target


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("192.0.2.1", "a port is missing"),
        (":80", "a port is missing"),
        ("a:", "'' is not a port"),
        ("a:0", "'0' is not a port"),
        ("a:65536", "'65536' is not a port"),
        ("a:80-90", "'80-90' is not a port"),
        ("a:٣", "'٣' is not a port"),
        ("a:80/sctp", "/sctp is not a protocol: tcp or udp"),
        ("2001:db8::1:80", "an IPv6 address stands in brackets"),
        ("[192.0.2.1]:80", "brackets are for an IPv6 address"),
        ("[2001:db8::g]:80", "2001:db8::g is neither an address nor a name"),
        ("0.0.0.0:80", "0.0.0.0 is not one machine's address"),
        ("[::]:80", ":: is not one machine's address"),
        ("[fe80::1]:80", "fe80::1 is not one machine's address"),
        ("224.0.0.1:80", "224.0.0.1 is not one machine's address"),
        ("127.1:80", "127.1 is neither an address nor a name"),
        ("*.example.com:80", "*.example.com is neither an address nor a name"),
        ("http://example.com:80", "not a URL, but the host and the port that are connected to"),
        (f"{'a' * 64}.example:80", f"{'a' * 64}.example is neither an address nor a name"),
    ],
)
def test_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as e:
        egress.parse_target(text)
    assert e.value.message == f"--allow {text}: {problem}"
    assert e.value.hint.startswith("--allow HOST:PORT")


def test_all_together() -> None:
    assert egress.parse_allow([]) is None
    assert egress.parse_allow(["none"]) == egress.parse_allow(["none", "none"]) == Egress()
    assert egress.parse_allow(["a:1", "A:1"]) == Egress((Target("a", 1),))
    with pytest.raises(UsageError, match="does not go with another"):
        egress.parse_allow(["none", "a:1"])


def test_only_a_user_network_is_guarded() -> None:
    cards = (Card(), Card("tap", "t0"))
    egress.check_cards(None, cards)
    egress.check_cards(Egress(), cards[:1])
    egress.check_cards(Egress(), ())
    with pytest.raises(UsageError, match="not with --net tap:t0"):
        egress.check_cards(Egress(), cards)


def test_names_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(name: str, port: None, **_: object) -> list[tuple[object, ...]]:
        if name != "a.example":
            raise OSError(-2, "Name or service not known")
        return [(2, 1, 6, "", (address, 0)) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]

    monkeypatch.setattr(egress.socket, "getaddrinfo", looked_up)
    asked = egress.parse_allow(["a.example:1", "a.example:2", "192.0.2.9:3"])
    found = egress.pinned(asked)
    assert found is not None and found.pins == (("a.example", ("192.0.2.1", "192.0.2.2")),)
    assert egress.pinned(None) is None
    with pytest.raises(FloeError, match=r"--allow b\.example: this host cannot look the name up: Name or service"):
        egress.pinned(egress.parse_allow(["b.example:1"]))


def test_the_gateway_is_this_host_s_loopback() -> None:
    """As it is for the guest, of each card."""
    cards = (Card(), Card(), Card(ip="192.168.7.9/24", gateway="192.168.7.1"))
    texts = ["10.0.2.2:1", "10.0.3.2:2", "192.168.7.1:3", "10.0.4.2:4", "a.example:5/udp"]
    asked = egress.parse_allow(texts)
    assert asked is not None
    told = json.loads(egress.rules(asked, cards, (Forward("127.0.0.1", 5353, 53, "udp"), Forward("", 80, 80))))
    here = [["tcp", "127.0.0.1", port] for port in (1, 2, 3)]
    assert told["fixed"] == [*here, ["tcp", "10.0.4.2", 4]]
    assert told["named"] == [["udp", "a.example", 5]]
    assert (told["replies"], told["gateway"]) == ([5353], "10.0.2.2")
