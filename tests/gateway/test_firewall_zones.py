# SPDX-License-Identifier: MIT
"""images/firewall/zones.py and reload.py: what a file may not say, and programs of what it may."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.docs.tutorial import blocks
from tests.gateway.frozen import Engine, frozen, settings
from tests.support.fixtures import REPO
from tests.support.imagecode import imported

IMAGE = REPO / "images" / "firewall"
HEAD = '[cards]\nwan = 0\nlan = 1\n[zones]\noutside = "wan"\ninside = ["lan"]\n'
ALLOW = HEAD + '[[allow]]\nfrom = "inside"\nto = "outside"\n'


@pytest.fixture
def lib() -> Iterator[SimpleNamespace]:
    with frozen(Engine("192.0.2.1", "10.1.0.1", "10.2.0.1")) as lib, imported(IMAGE, "zones") as zones:
        lib.zones = zones
        yield lib


def made(lib: SimpleNamespace, text: str, **more: Any) -> Any:
    """The rule set of a file."""
    plan, zones = zones_of(lib, text, **more)
    import ruleset  # type: ignore[import-not-found]  # the image's

    return lib.zones.rule_set(plan, zones, ruleset)


def zones_of(lib: SimpleNamespace, text: str, **more: Any) -> tuple[Any, Any]:
    """The plan and the zones of a file."""
    given = settings(text, "firewall.toml")
    given.drop_echo, given.log_denied = more.get("drop_echo", False), more.get("log_denied", True)
    given.autoconf6 = more.get("autoconf6", ["auto"])
    plan = lib.gateway.Plan(given, lib.zones.TABLES)
    return plan, lib.zones.Zones(given, plan, more.get("dhcp", []), more.get("fixed", []))


def chain(rules: Any, hook: str) -> list[str]:
    found = dict(rules.hooks)[hook]
    return [repr(each) for each in getattr(found, "rules", found)]


def test_rules_of_a_file(lib: SimpleNamespace) -> None:
    text = ALLOW + (
        'proto = ["icmp", "icmpv6"]\nicmp = "echo-request"\nsource = ["10.1.0.0/24", "2001:db8:1::/64"]\nlimit = "20/min"\n'
        'name = "ping"\nlog = true\n[[deny]]\nfrom = "any"\nto = ["any", "this"]\nsource = "203.0.113.0/24"\n'
        '[policy]\ndefault = "reject"\noutside.this = "accept"\n'
    )
    rules = made(lib, text, log_denied=False, dhcp=[0])
    assert len(rules.compile().bytes) > 1000
    ping = "count('ping') >> log('ping') >> accept"
    assert chain(rules, "forward")[2:] == [
        "rule(src=['203.0.113.0/24']) >> count('deny 1') >> drop",
        "rule(src=['10.1.0.0/24'], proto='icmp', in_=['lan'], out=['wan'], icmp=['echo-request'])"
        f" >> limit(per_min=20, burst=5) >> {ping}",
        "rule(src=['2001:db8:1::/64'], proto='icmpv6', in_=['lan'], out=['wan'], icmp=['echo-request'])"
        f" >> limit(per_min=20, burst=5) >> {ping}",
        *[
            f"rule(in_=['{a}'], out=['{b}']) >> count('denied {names[a]} to {names[b]}') >> reject"
            for names in [{"lan": "inside", "wan": "outside"}]
            for a, b in itertools.product(["lan", "wan"], repeat=2)
        ],
        "rule() >> count('denied') >> drop",
    ]
    rows = chain(rules, "input")[2:]
    assert rows[0] == "rule(proto='udp', sport=67, dport=68, in_=[0]) >> accept"
    assert rows[3] == "rule(src=['203.0.113.0/24']) >> count('deny 1') >> drop"
    assert rows[-2] == "rule(in_=['wan']) >> count('outside to this') >> accept"


def test_the_page(lib: SimpleNamespace) -> None:
    """README.md has a file and rules that can be, and every key and setting."""
    page = (IMAGE / "README.md").read_text()
    code = {block.kind: "\n".join(block.lines) for block in blocks(page)}
    assert made(lib, code["toml"]).compile().bytes
    names: dict[str, Any] = {}
    exec(code["python"], names)
    assert lib.packet.RuleSet(forward=names["forward"], cards={"wan": 0}).compile().bytes
    assert not [
        key for key in (*lib.zones._RULE, *lib.zones.TABLES) if f"`{key}`" not in page and f"[{key}]" not in page
    ]
    defaults = re.search(r"^DEFAULTS = ({.*?})$", (IMAGE / "service.py").read_text(), re.DOTALL | re.MULTILINE)
    assert defaults and not [key for key in ast.literal_eval(defaults[1]) if f"`{key.upper()}`" not in page]


@pytest.mark.parametrize("drop_echo", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_the_images_own_file(lib: SimpleNamespace, drop_echo: bool, told: bool) -> None:
    rules = made(lib, (IMAGE / "data" / "firewall.toml").read_text(), drop_echo=drop_echo, log_denied=told)
    assert rules.compile().bytes
    assert ("count('echo') >> drop" in " ".join(chain(rules, "forward"))) == drop_echo
    assert ("log(" in " ".join(chain(rules, "prerouting"))) == told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cards]\nwan = 0", '[zones] is missing; right is inside = ["lan"]'),
        ("[zone]\na = 1", "zone is no table of it; there are: allow, cards, deny, forward, nat, policy, route, sources, syslog, "
         "zones"),
        ("zones = [{}]", "zones: expected a table, [zones]"),
        ("zones = 1", "zones: expected a table, [zones]"),
        ('[zones]\na = 0', "zones: a: 0 is no name; there are: card0, card1, card2"),
        ('[zones]\na = []', "zones: a: [] is no name; there are: card0, card1, card2"),
        ('[zones]\na = ["card1", "card1"]', "zones: a: card1 is there twice"),
        ('[zones]\nthis = "card0"', "zones: this: is a word of its own; give this zone another name"),
        ('[zones]\n"a b" = "card0"', "zones: a b: a zone's name has 1 to 15 letters, digits, - and _"),
        ('[zones]\nabcdefghijklmnop = "card0"', "zones: abcdefghijklmnop: a zone's name has 1 to 15 letters, digits, - and _"),
        ('[zones]\na = "card7"', "zones: a: there is no card7; there are: card0, card1, card2"),
        ('[zones]\na = "card0"\nb = ["card1", "card0"]', "zones: b: card0 is in zone a, too"),
        (HEAD + '[sources]\ndmz = "10.0.0.0/8"', "sources: dmz is no key of it; there are: inside, outside"),
        (HEAD + '[sources]\ninside = "10.1.0.1/8"', "sources: inside: '10.1.0.1/8' has bits behind its prefix; right is "
         "'10.0.0.0/8'"),
        (HEAD + "[sources]\ninside = []", "sources: inside: []: expected an address, a/24 or a-b, or a list of such"),
        (HEAD + '[policy]\ndefault = "deny"', "policy: default: 'deny': expected accept, drop or reject"),
        (HEAD + '[policy]\ninside.dmz = "drop"', "policy.inside: dmz is no key of it; there are: inside, outside, this"),
        (HEAD + '[policy]\ninside = "drop"', "policy: inside: 'drop': right is inside.TO = 'accept'"),
        ("policy = 'drop'\n" + HEAD, "policy: expected a table, [policy]"),
        (HEAD + "[[sources]]\ninside = '10.0.0.0/8'", "sources: expected a table, [sources]"),
        (HEAD + "[policy]\ninside.this = 1", "policy.inside: this: 1: expected text"),
        (HEAD + "[allow]\nx = 1", "allow: expected a list of tables, each [[allow]]"),
        ("allow = [1]\n" + HEAD, "allow: expected a list of tables, each [[allow]]"),
        (HEAD + '[[allow]]\nfrom = "wan"\nto = "inside"', "allow 1: from: there is no wan; there are: any, inside, outside"),
        (HEAD + '[[allow]]\nfrom = 0\nto = "inside"', "allow 1: from: 0 is no name; there are: any, inside, outside"),
        (ALLOW + "proto = 6", "allow 1: proto: 6 is no name; there are: ah, esp, gre, icmp, icmpv6, igmp, sctp, tcp, udp"),
        (ALLOW + 'proto = "tcp"\nport = -1', "allow 1: port: -1 is no port; right: 1 to 65535, 'a-b'"),
        (ALLOW + 'proto = "tcp"\nport = "0-5"', "allow 1: port: '0-5' is no port; right: 1 to 65535, 'a-b'"),
        (HEAD + '[[allow]]\nto = "inside"', "allow 1: from is missing"),
        (HEAD + '[[allow]]\nfrom = "inside"', "allow 1: to is missing"),
        (HEAD + '[[allow]]\nfrom = "this"\nto = "any"', "allow 1: from: there is no this; there are: any, inside, outside"),
        (ALLOW + "port = 80", 'allow 1: port: needs proto = "tcp", "udp" or both'),
        (ALLOW + 'proto = "icmp"\nport = 80', 'allow 1: port: needs proto = "tcp", "udp" or both'),
        (ALLOW + 'proto = "tpc"', "allow 1: proto: there is no tpc; there are: ah, esp, gre, icmp, icmpv6, igmp, sctp, tcp, udp"),
        (ALLOW + 'proto = "tcp"\nport = "80-70"', "allow 1: port: '80-70' ends below its beginning"),
        (ALLOW + 'proto = "tcp"\nicmp = "echo-request"', 'allow 1: icmp: needs proto = "icmp", "icmpv6" or both'),
        (ALLOW + 'proto = "icmpv6"\nicmp = "timestamp-request"', "allow 1: icmp: 'timestamp-request' is no type of icmpv6; right: "
         "destination-unreachable, echo-reply, echo-request, neighbour-advertisement, neighbour-solicitation, packet-too-big, "
         "parameter-problem, redirect, router-advertisement, router-solicitation, time-exceeded, 0 to 255, 'a-b'"),
        (ALLOW + 'source = "10.1"', "allow 1: source: '10.1' is no address; right are '192.0.2.1' and '2001:db8::1'"),
        (ALLOW + 'source = "10.1.0.0/16"\ndestination = "::/0"', "allow 1: source, destination and protocol are of different "
         "families"),
        (ALLOW + 'proto = "icmp"\ndestination = "::/0"', "allow 1: source, destination and protocol are of different families"),
        (ALLOW + 'limit = "fast"', "allow 1: limit: 'fast': right are '20/s', '100/min', '5/h'"),
        (ALLOW + 'limit = "0/s"', "allow 1: limit: '0/s': right are '20/s', '100/min', '5/h'"),
        (ALLOW + "limit = 20", "allow 1: limit: 20: expected a rate, as '20/s', '100/min' or '5/h'"),
        (ALLOW + "burst = 20", "allow 1: burst: needs limit"),
        (ALLOW + 'limit = "1/s"\nburst = 0', "allow 1: burst: 0: expected 1 to 65536"),
        (ALLOW + 'log = "yes"', "allow 1: log: 'yes': expected true or false"),
        (ALLOW + 'name = ""', "allow 1: name: '': expected 1 to 40 letters of ASCII"),
        (ALLOW + 'comment = "x"', "allow 1: comment is no key of it; there are: name, from, to, proto, port, icmp, source, "
         "destination, limit, burst, log"),
        (HEAD + '[[deny]]\nfrom = "any"\nto = "dmz"', "deny 1: to: there is no dmz; there are: any, inside, outside, this"),
    ],
)  # fmt: skip
def test_what_cannot_be(lib: SimpleNamespace, text: str, said: str) -> None:
    with pytest.raises(lib.appliance.SettingsError) as e:
        made(lib, text)
    assert str(e.value) == f"firewall.toml: {said}"


@pytest.mark.parametrize(
    ("zone", "fixed", "cards", "believing"),
    [
        ("outside", [], ["auto"], [2]), ("outside", [2], ["auto"], []), ("wan", [], ["auto"], []),
        ("wan", [0, 2], ["b"], [2]), ("outside", [], ["a"], [0]), ("outside", [], [], []),
    ],
)  # fmt: skip
def test_who_believes_routers(
    lib: SimpleNamespace, zone: str, fixed: list[int], cards: list[str], believing: list[int]
) -> None:
    text = f'[cards]\na = 0\nb = 2\n[zones]\n{zone} = "b"\nx = "a"\n'
    assert zones_of(lib, text, autoconf6=cards, fixed=fixed)[1].believing == believing


def test_no_card_that_believes_routers(lib: SimpleNamespace) -> None:
    with pytest.raises(lib.appliance.SettingsError) as e:
        zones_of(lib, HEAD, autoconf6=["wan", "eth0"])
    assert str(e.value) == "firewall.toml: autoconf6: there is no eth0; there are: lan, wan"


def test_rules_in_python_in_place_of_all(lib: SimpleNamespace) -> None:
    import ruleset

    ruleset.rules = lib.packet.RuleSet(forward=[lib.packet.rule(in_="lan") >> lib.packet.accept])
    try:
        rules = made(lib, HEAD)
        assert rules is ruleset.rules and rules.cards == {"wan": 0, "lan": 1} and rules.compile().bytes
    finally:
        ruleset.rules = None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (\n", r"line 1: SyntaxError: '\(' was never closed"),
        ("\n\nundefined\n", r"line 3: NameError: "),
        ("def f():\n    return 1 / 0\n\n\nf()\n", r"line 2: ZeroDivisionError: "),
        ("import nowhere\n", r"line 1: ModuleNotFoundError: "),
        ("raise ValueError('mine')\n", r"line 1: ValueError: mine"),
    ],
)
def test_files_of_rules_that_are_wrong(lib: SimpleNamespace, tmp_path: Path, text: str, said: str) -> None:
    with imported(IMAGE, "reload") as reload:
        reload.sys = SimpleNamespace(print_exception=_print_exception)
        path = tmp_path / "rules.py"
        with pytest.raises(lib.appliance.SettingsError, match=r"rules: .*/rules\.py: no such file"):
            reload.Files().rules(str(path))
        path.write_text(text)
        with pytest.raises(lib.appliance.SettingsError, match=f"rules.py: {said}"):
            reload.Files().rules(str(path))


def test_files_that_change(lib: SimpleNamespace, tmp_path: Path) -> None:
    """Also before the first look after the start."""
    with imported(IMAGE, "reload") as reload:
        one, two = tmp_path / "firewall.toml", tmp_path / "rules.py"
        one.write_text("a")
        given = SimpleNamespace(file=str(one), rules="", reload_s=2)
        files = reload.Files()
        assert not files.have_changed(given)
        one.write_text("ab")
        assert [files.have_changed(given) for _ in range(4)] == [False, True, False, False]
        given.rules = str(two)
        assert [files.have_changed(given) for _ in range(2)] == [False, False]
        two.write_text("x")
        assert [files.have_changed(given) for _ in range(2)] == [False, True]
        one.unlink()
        given.reload_s = 0
        assert [files.have_changed(given) for _ in range(4)] == [False] * 4


def _print_exception(exc: BaseException, file: Any) -> None:
    import traceback

    traceback.print_exception(exc, file=file)
