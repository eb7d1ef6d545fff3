# SPDX-License-Identifier: MIT
"""modules/packet/packetroute.c beside a table in plain Python; and how much memory 100,000 routes take."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.packet import packetwords
from tests.c.support.harness import EINVAL, ENOSPC, Harness

Net = ipaddress.IPv4Network | ipaddress.IPv6Network
ENOENT = -2
MANY = 100_000
MANY_BYTES = 16 << 20


@pytest.fixture(scope="module")
def table(engine_program: Path) -> Iterator[packetwords.Engine]:
    with Harness(engine_program) as harness:
        yield packetwords.Engine(harness)


class Plain:
    """The reference: looks at every route."""

    def __init__(self) -> None:
        self.routes: dict[Net, tuple[int, str]] = {}

    def find(self, address: str) -> tuple[int, str] | None:
        ip = ipaddress.ip_address(address)
        nets = [net for net in self.routes if net.version == ip.version and ip in net]
        return self.routes[max(nets, key=lambda net: net.prefixlen)] if nets else None


def nets(version: int) -> st.SearchStrategy[Net]:
    """Prefixes that have beginnings in common."""
    bits = 32 if version == 4 else 128
    few = st.sampled_from([0, 1, 0x0A000000, 0x0A010000, 0x0A010203, 0xC0A80000, 0xFFFFFFFF])
    word = few | st.integers(0, 0xFFFFFFFF)
    address = (
        word
        if version == 4
        else st.tuples(word, word, few, word).map(lambda w: sum(x << 32 * i for i, x in enumerate(w)))
    )
    kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
    return st.tuples(address, st.integers(0, bits)).map(lambda ab: kind((ab[0] >> bits - ab[1] << bits - ab[1], ab[1])))


any_net = nets(4) | nets(6)
vias = {4: ["", "10.1.0.9", "10.2.0.9"], 6: ["", "fe80::9", "2001:db8::9"]}
steps = st.lists(
    st.tuples(st.sampled_from(["add", "add", "remove"]), any_net, st.integers(0, 2), st.integers(0, 2)), max_size=60
)


@given(steps, st.lists(any_net, max_size=10))
@settings(deadline=None, max_examples=150)
def test_the_longest_prefix_is_found(
    table: packetwords.Engine, steps: list[tuple[str, Net, int, int]], others: list[Net]
) -> None:
    table.harness.do("empty", 1 << 24)
    plain = Plain()
    for what, net, card, via in steps:
        assert table.find(str(net.network_address)) == plain.find(str(net.network_address))
        if what == "add":
            plain.routes[net] = card, vias[net.version][via]
            assert table.route(str(net), *plain.routes[net]) == 0
        else:
            assert table.unroute(str(net)) == (0 if plain.routes.pop(net, None) else ENOENT)
        assert table.find(str(net.network_address)) == plain.find(str(net.network_address))
    for net in [*plain.routes, *others]:
        for address in (net.network_address, net.broadcast_address, net.network_address + net.num_addresses // 3):
            assert table.find(str(address)) == plain.find(str(address)), address
    found = table.routes(4) | table.routes(6)
    assert found == {str(net): (card, "static") for net, (card, _) in plain.routes.items()}
    for net in plain.routes:
        assert table.unroute(str(net)) == 0
    count, size = table.harness.numbers("bytes")
    assert count == 0 and size < 1 << 10  # what is left is the list of next hops
    assert table.find("10.1.2.3") is None and table.routes(6) == {}


def test_a_hundred_thousand_routes(table: packetwords.Engine) -> None:
    chance = random.Random(13)
    wanted: dict[int, int] = {}
    while len(wanted) < MANY:
        bits = chance.choice([16, 20, 22, 23, 24, 24, 24, 24])
        wanted[(chance.getrandbits(32) >> 32 - bits << 32 - bits) << 8 | bits] = chance.randrange(3)
    table.harness.do("empty", 1 << 24)
    for key, card in wanted.items():
        assert table.harness.number("route", 4, f"{key >> 8:08x}", key & 0xFF, card, "-") == 0
    count, size = table.harness.numbers("bytes")
    assert count == MANY and size < MANY_BYTES
    for key in chance.sample(list(wanted), 3000):
        address = (key >> 8) | chance.getrandbits(32 - (key & 0xFF))
        lengths = [b for b in range(32, 0, -1) if (address >> 32 - b << 32 - b) << 8 | b in wanted]
        best = wanted[(address >> 32 - lengths[0] << 32 - lengths[0]) << 8 | lengths[0]]
        assert table.find(str(ipaddress.IPv4Address(address))) == (best, "")


def test_a_full_table_stays_as_it_is(table: packetwords.Engine) -> None:
    table.harness.do("empty", 3000)
    net = ipaddress.IPv6Network("2001:db8::/64")
    added = []
    for number in range(50):
        text = str(ipaddress.ip_network(f"2001:db8:{number * 977:x}::/{64 + number}"))
        result = table.route(text, 1)
        assert result in (0, ENOSPC)
        added += [text] if result == 0 else []
    before = table.harness.numbers("bytes")
    assert 0 < len(added) < 50 and before[1] <= 3000
    assert table.route("2001:db8:ffff::/128", 1) == ENOSPC
    assert table.harness.numbers("bytes") == before and sorted(table.routes(6)) == sorted(added)
    assert table.route(added[0], 2) == 0 and table.find(str(net.network_address)) == (2, "")


@pytest.mark.parametrize(
    ("family", "prefix", "bits"), [(4, "0a000001", 8), (4, "0a000000", 33), (6, "ff" * 16, 127), (5, "00", 0)]
)
def test_what_is_no_prefix(table: packetwords.Engine, family: int, prefix: str, bits: int) -> None:
    assert table.harness.number("route", family, prefix, bits, 0, "-") == EINVAL
    assert table.harness.number("unroute", family, prefix, bits) == EINVAL
