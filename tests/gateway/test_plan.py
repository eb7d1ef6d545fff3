# SPDX-License-Identifier: MIT
"""frozen/lib/gateway/plan.py and table.py: what a file may say, the rules that follow, and what it may not say."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.docs.tutorial import blocks
from tests.gateway.frozen import Engine, frozen, settings
from tests.support.fixtures import REPO

CARDS = "[cards]\nwan = 0\nlan = 1\n"
WHOLE = """
[cards]
wan = 0
lan = "02:00:00:00:02:01"

[[route]]
to = ["10.3.0.0/16", "10.9.0.1"]
via = "10.1.0.2"
[[route]]
to = "2001:db8:3::/48"
card = "lan"

[[forward]]
in = "wan"
port = 8080
to = "10.1.0.5"
to-port = 80
[[forward]]
in = "wan"
proto = ["tcp", "udp"]
port = "5000-5010"
to = "10.1.0.6"
from = "198.51.100.0/24"
address = "192.0.2.77"
hairpin = false

[nat]
masquerade = ["wan"]
[[nat.static]]
card = "wan"
outside = "192.0.2.9"
inside = "10.1.0.9"
"""


@pytest.fixture
def lib() -> Iterator[SimpleNamespace]:
    with frozen(Engine("192.0.2.1", "10.1.0.1")) as lib:
        yield lib


def test_ports_that_may_be_forwarded_twice(lib: SimpleNamespace) -> None:
    """By another protocol, card or address, and first for some sources, then for the others."""
    more = ["from = '198.51.100.0/24'", "", "proto = 'udp'", "address = '192.0.2.7'"]
    text = "".join(f"[[forward]]\nin = 'wan'\nport = 80\nto = '10.1.0.5'\n{each}\n" for each in more)
    text += "[[forward]]\nin = 'lan'\nport = 80\nto = '192.0.2.5'\n"
    assert len(lib.gateway.Plan(settings(CARDS + text)).prerouting) == 10


def test_a_whole_file(lib: SimpleNamespace) -> None:
    plan = lib.gateway.Plan(settings(WHOLE))
    assert plan.cards == {"wan": 0, "lan": 1}
    assert plan.routes == {
        "10.3.0.0/16": ("10.1.0.2", None), "10.9.0.1/32": ("10.1.0.2", None), "2001:db8:3::/48": (None, 1),
    }  # fmt: skip
    at, back = 0xF10E0001, 0xF10E0002
    ours = "rule(dst=Set('addresses of card 0'), proto=['tcp'], dport=[8080], in_="
    assert [repr(each) for each in plan.prerouting] == [
        "rule(dst='192.0.2.9') >> dnat('10.1.0.9')",
        f"{ours}'wan') >> mark({at}) >> dnat('10.1.0.5', 80)",
        f"{ours}['lan']) >> mark({back}) >> dnat('10.1.0.5', 80)",
        "rule(src=['198.51.100.0/24'], dst='192.0.2.77', proto=['tcp', 'udp'], dport=['5000-5010'], in_='wan')"
        f" >> mark({at}) >> dnat('10.1.0.6')",
    ]
    assert [repr(each) for each in plan.forward] == [f"rule(state='new', mark=[{at}, {back}]) >> accept"]
    assert [repr(each) for each in plan.postrouting] == [
        "rule(src='10.1.0.9', out=['wan']) >> snat('192.0.2.9')",
        f"rule(dst='10.1.0.5', in_='lan', out='lan', mark={back}) >> masquerade",
        "rule(out=['wan']) >> masquerade",
    ]
    assert list(plan.addresses[0]) == ["192.0.2.1"]
    chain = lib.packet.Chain("f", lib.packet.drop, [lib.packet.rule() >> lib.packet.drop])
    rules = plan.rule_set(forward=chain)
    assert len(rules.compile().bytes) > 500
    assert [repr(each) for each in dict(rules.hooks)["forward"].rules] == [repr(plan.forward[0]), "rule() >> drop"]


def test_the_page(lib: SimpleNamespace) -> None:
    """docs/gateway.md has a file that can be, and every key."""
    page = (REPO / "docs" / "gateway.md").read_text()
    text = "\n".join(next(block for block in blocks(page) if block.kind == "toml").lines)
    plan = lib.gateway.Plan(settings(text.replace("52:54:00:12:34:57", "02:00:00:00:02:01")))
    assert plan.rule_set().compile().bytes and len(plan.routes) == 2
    keys = vars(lib.gateway)["Plan"].__init__.__globals__["_FORWARD"]
    assert all(f"`{key}`" in page for key in (*keys, "masquerade", "outside", "via"))


def test_nothing_is_a_plan(lib: SimpleNamespace) -> None:
    plan = lib.gateway.Plan(settings(""))
    assert (plan.cards, plan.routes) == ({"card0": 0, "card1": 1}, {})
    assert plan.rule_set().compile().bytes


def test_more_tables_are_others(lib: SimpleNamespace) -> None:
    assert lib.gateway.Plan(settings("[dhcp]\nx = 1"), ("dhcp",)).cards


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[dchp]", "dchp is no table of it; there are: cards, forward, nat, route"),
        ("cards = [{}]", "cards: expected a table, [cards]"),
        ("cards = 'lan'", "cards: expected a table, [cards]"),
        ("[cards]\n'' = 0", "cards: '': a card's name has 1 to 30 letters and no blank"),
        ("[cards]\n'the lan' = 0", "cards: the lan: a card's name has 1 to 30 letters and no blank"),
        (f"[cards]\n{'x' * 31} = 0", f"cards: {'x' * 31}: a card's name has 1 to 30 letters and no blank"),
        ("[cards]\nlan = [0]", "cards: lan: [0]: expected a card's number, below 2, or its MAC"),
        ("[cards]\nlan = 2", "cards: lan: 2: expected a card's number, below 2, or its MAC"),
        ("[cards]\nlan = true", "cards: lan: True: expected a card's number, below 2, or its MAC"),
        ('[cards]\nlan = "eth0"', "cards: lan: 'eth0' is no MAC; right is '52:54:00:12:34:56'"),
        ('[cards]\nlan = "02:00:00:00:09:01"', "cards: lan: no card has 02:00:00:00:09:01; there are: 02:00:00:00:01:01, "
         "02:00:00:00:02:01"),
        ("[cards]\nlan = 0\nwan = 0", "cards: wan: is the card that is called lan, too"),
        ("[cards]\nthis = 0", "cards: this: is what this machine itself is called; give this card another name"),
        ("[route]", "route: expected a list of tables, each [[route]]"),
        ("route = '10.0.0.0/8 via 10.1.0.2'", "route: expected a list of tables, each [[route]]"),
        ("route = [1, 2]", "route: expected a list of tables, each [[route]]"),
        ("[[route]]\nto = '10.3.0.0/16'\nvia = 10", "route 1: via: 10: expected an address"),
        ("[[route]]\nto = '10.3.0.0/16'\nvia = '0.0.0.0'", "route 1: via: 0.0.0.0 is no machine's address"),
        ("[[route]]\nto = '2001:db8::/32'\nvia = 'ff02::1'", "route 1: via: ff02::1 is no machine's address"),
        ("[[route]]\nto = '10.3.0.0/16'\ncard = 0", "route 1: card: 0 is no name; there are: card0, card1"),
        ("[[route]]\nto = '10.3.0.0/16'\ncard = []", "route 1: card: [] is no name; there are: card0, card1"),
        ("[[route]]\nvia = '10.1.0.2'", "route 1: to is missing"),
        ("[[route]]\nto = '10.3.0.0/16'", "route 1: via or card is missing"),
        ("[[route]]\nto = '10.3.0.0/16'\ngw = '10.1.0.2'", "route 1: gw is no key of it; there are: to, via, card"),
        ("[[route]]\nto = '10.3.0.1/16'\nvia = '10.1.0.2'", "route 1: to: '10.3.0.1/16' has bits behind its prefix; right "
         "is '10.3.0.0/16'"),
        ("[[route]]\nto = '10.3.0.1-10.3.0.2'\nvia = '10.1.0.2'", "route 1: to: '10.3.0.1-10.3.0.2': a route has a prefix, "
         "as 10.3.0.0/16"),
        ("[[route]]\nto = 7\nvia = '10.1.0.2'", "route 1: to: 7: expected an address, a/24 or a-b, or a list of such"),
        ("[[route]]\nto = '10.3.0.0/16'\nvia = '10.1.0'", "route 1: via: '10.1.0' is no address; right are '192.0.2.1' and "
         "'2001:db8::1'"),
        ("[[route]]\nto = '10.3.0.0/16'\nvia = '2001:db8::1'", "route 1: via: 2001:db8::1 is no way to 10.3.0.0/16: they are "
         "of different families"),
        ("[[route]]\nto = '10.3.0.0/16'\ncard = 'dmz'", "route 1: card: there is no dmz; there are: card0, card1"),
        ("[[route]]\nto = '10.3.0.0/16'\ncard = 'card0'\n" * 2, "route 2: to: there is another route to 10.3.0.0/16"),
        (CARDS + "[[forward]]\nport = 80\nto = '10.1.0.5'", "forward 1: in is missing"),
        (CARDS + "[[forward]]\nin = 'dmz'\nport = 80\nto = '10.1.0.5'", "forward 1: in: there is no dmz; there are: lan, wan"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 80", "forward 1: to is missing"),
        (CARDS + "[[forward]]\nin = 0\nport = 80\nto = '10.1.0.5'", "forward 1: in: 0 is no name; there are: lan, wan"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 80\nto = ['10.1.0.5']", "forward 1: to: ['10.1.0.5']: expected an address"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 80\nto = '224.0.0.5'", "forward 1: to: 224.0.0.5 is no machine's address"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 80\nto = '::1'", "forward 1: to: ::1 is IPv6; expected IPv4"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 0\nto = '10.1.0.5'", "forward 1: port: 0 is no port; right: 1 to 65535, "
         "'a-b'"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 'http'\nto = '10.1.0.5'", "forward 1: port: 'http' is no port; right: 1 to "
         "65535, 'a-b'"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = []\nto = '10.1.0.5'", "forward 1: port: []: expected a port, or \"a-b\", or "
         "a list of such"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = '80-90'\nto = '10.1.0.5'\nto-port = 80", "forward 1: to-port: is for one "
         "port; without it ports stay as they are"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 80\nto = '10.1.0.5'\nto-port = 70000", "forward 1: to-port: 70000: expected "
         "1 to 65535"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 80\nto = '10.1.0.5'\nproto = 'icmp'", "forward 1: proto: there is no icmp; "
         "there are: tcp, udp"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 80\nto = '10.1.0.5'\nhairpin = 'no'", "forward 1: hairpin: 'no': expected "
         "true or false"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 80\nto = '10.1.0.5'\nfrom = '::/0'", "forward 1: from: expected IPv4 "
         "addresses: a forwarded port is of IPv4"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = 80\nto = '10.1.0.5'\n" * 2, "forward 2: port: 80 goes somewhere else by "
         "another [[forward]] of this card"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = '80-90'\nto = '10.1.0.5'\n"
         "[[forward]]\nin = 'wan'\nport = [8, 85]\nto = '10.1.0.6'\nfrom = '192.0.2.0/24'", "forward 2: port: 85 goes "
         "somewhere else by another [[forward]] of this card"),
        (CARDS + "[[forward]]\nin = 'wan'\nport = [80, 90]\nto = '10.1.0.5'\n"
         "[[forward]]\nin = 'wan'\nport = '85-90'\nto = '10.1.0.6'", "forward 2: port: a part of 85-90 goes somewhere else "
         "by another [[forward]] of this card"),
        (CARDS + "[[nat.static]]\ncard = 'wan'\noutside = '192.0.2.9'\ninside = '10.1.0.9'\n"
         "[[nat.static]]\ncard = 'wan'\noutside = '192.0.2.9'\ninside = '10.1.0.8'", "nat.static 2: outside: there is "
         "another [[nat.static]] of 192.0.2.9"),
        (CARDS + "[[nat.static]]\ncard = 'wan'\noutside = '192.0.2.9'\ninside = '10.1.0.9'\n"
         "[[nat.static]]\ncard = 'wan'\noutside = '192.0.2.8'\ninside = '10.1.0.9'", "nat.static 2: inside: there is "
         "another [[nat.static]] of 10.1.0.9 at wan"),
        (CARDS + "[nat]\nmasquerade = 'wan0'", "nat: masquerade: there is no wan0; there are: lan, wan"),
        (CARDS + "[nat]\nmasquerade = true", "nat: masquerade: True is no name; there are: lan, wan"),
        (CARDS + "[nat]\nmasquerade = []", "nat: masquerade: [] is no name; there are: lan, wan"),
        (CARDS + "[[nat]]\nmasquerade = 'wan'", "nat: expected a table, [nat]"),
        (CARDS + "[nat.static]\noutside = '192.0.2.9'", "nat.static: expected a list of tables, each [[nat.static]]"),
        (CARDS + "[nat]\nsnat = 1", "nat: snat is no key of it; there are: masquerade, static"),
        (CARDS + "[[nat.static]]\ninside = '10.1.0.9'", "nat.static 1: outside is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be(lib: SimpleNamespace, text: str, said: str) -> None:
    with pytest.raises(lib.appliance.SettingsError) as e:
        lib.gateway.Plan(settings(text))
    assert str(e.value) == f"router.toml: {said}"
