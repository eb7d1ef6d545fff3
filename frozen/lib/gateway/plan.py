# SPDX-License-Identifier: MIT
"""What a file says of cards, routes, forwarded ports and translated addresses, checked, and the rules that follow."""

import network
from appliance import SettingsError
from packet import Chain, RuleSet, Set, accept, dnat, mark, masquerade, rule, snat
from packet.values import mac_range, network_range, number_range

from .table import MISSING, Table

TABLES = ("cards", "route", "forward", "nat")
# What packets of forwarded ports carry through the rules: to a server behind another card, or behind the same.
FORWARDED = 0xF10E0001
HAIRPIN = 0xF10E0002
_LONGEST = 30  # of a card's name, which stands in names of counters
_FORWARD = ("in", "proto", "port", "to", "to-port", "from", "address", "hairpin")


def _mac(card: object) -> str:
    return ":".join(["%02x" % byte for byte in card.config("mac")])


class Plan:
    """A file's tables. Raises SettingsError.

    cards: {name: number}; routes: {prefix: (via, card)}, either may be None; prerouting, forward, postrouting: rules;
    addresses: {card's number: Set of its IPv4 addresses}, as far as rules ask for them."""

    def __init__(self, settings: object, more: tuple = ()) -> None:
        """settings: the appliance's; more: names of its own tables, which are not looked at here."""
        self.file = settings.file or "settings"
        self.prerouting: list = []
        self.forward: list = []
        self.postrouting: list = []
        self.addresses: dict = {}
        self._forwarded: dict = {}  # (card, protocol, address) -> ports, and ranges, that go somewhere already
        self._static_ends: set = set()  # of [[nat.static]]: (outside,) and (inside, card)
        self._answered: set = set()  # (card, server) whose neighbours' connections come back this way
        tables = settings.tables
        for key in sorted(tables):
            if key not in TABLES and key not in more:
                known = ", ".join(sorted(TABLES + more))
                raise SettingsError("%s: %s is no table of it; there are: %s" % (self.file, key, known))
        self.cards = self._cards(tables.get("cards"))
        self.routes = self._routes(tables.get("route", []))
        nat = Table(self._where("nat"), tables.get("nat", {}), ("masquerade", "static"))
        for each in Table.each(self._where("nat.static"), nat.content.get("static", []), ("outside", "inside", "card")):
            self._static(each)
        for each in Table.each(self._where("forward"), tables.get("forward", []), _FORWARD):
            self._forward(each)
        if self.prerouting:
            self.forward.append(rule(mark=[FORWARDED, HAIRPIN], state="new") >> accept)
        cards = nat.names("masquerade", self.cards, [])
        if cards:
            self.postrouting.append(rule(out=cards) >> masquerade)

    def rule_set(self, forward: object = None, input: object = None, chains: dict | None = None) -> RuleSet:
        """These rules around others. forward, input: a packet.Chain, None: all passes; `forward` is asked
        behind the rules for forwarded ports. chains: as RuleSet has them."""
        if forward is not None:
            forward = Chain("forward", forward.policy, self.forward + forward.rules)
        return RuleSet(self.prerouting, input, forward, self.postrouting, chains, self.cards)

    def _where(self, name: str) -> str:
        return "%s: %s" % (self.file, name)

    def _cards(self, table: object) -> dict:
        """{name: number}; card0, card1 and on, where the file does not name them."""
        there = network.route()
        if table is None:
            return {"card%d" % i: i for i in range(len(there))}
        macs = {_mac(card): i for i, card in enumerate(there)}
        found: dict = {}
        cards = Table(self._where("cards"), table, tuple(table) if isinstance(table, dict) else ())
        for name in sorted(cards.content):
            value = cards.content[name]
            if name == "this":
                cards.fail(name, "is what this machine itself is called; give this card another name")
            if not 1 <= len(name.encode()) <= _LONGEST or " " in name:
                cards.fail(name, "a card's name has 1 to %d letters and no blank" % _LONGEST)
            if type(value) is str:
                try:
                    mac_range(value)
                except ValueError as exc:
                    cards.fail(name, exc)
                if value.lower() not in macs:
                    cards.fail(name, "no card has %s; there are: %s" % (value, ", ".join(sorted(macs)) or "none"))
                value = macs[value.lower()]
            elif type(value) is not int or not 0 <= value < len(there):
                cards.fail(name, "%r: expected a card's number, below %d, or its MAC" % (value, len(there)))
            for other in sorted(found):
                if found[other] == value:
                    cards.fail(name, "is the card that is called %s, too" % other)
            found[name] = value
        return found

    def _routes(self, tables: object) -> dict:
        found: dict = {}
        for table in Table.each(self._where("route"), tables, ("to", "via", "card")):
            to = table.networks("to")
            via, card = table.address("via", None), table.names("card", self.cards, None)
            if via is None and card is None:
                table.fail(None, "via or card is missing")
            if card is not None and len(card) != 1:
                table.fail("card", "expected one card")
            for prefix in to:
                if "-" in prefix:
                    table.fail("to", "%r: a route has a prefix, as 10.3.0.0/16" % prefix)
                family = network_range(prefix)[0]
                if via is not None and (":" in via) != (family == 6):
                    table.fail("via", "%s is no way to %s: they are of different families" % (via, prefix))
                if "/" not in prefix:
                    prefix += "/32" if family == 4 else "/128"
                if prefix in found:
                    table.fail("to", "there is another route to %s" % prefix)
                found[prefix] = (via, self.cards[card[0]] if card else None)
        return found

    def address_set(self, card: str) -> Set:
        """The IPv4 addresses that a card has; they may change."""
        number = self.cards[card]
        if number not in self.addresses:
            self.addresses[number] = Set("addresses of card %d" % number, addresses_of(number), family=4)
        return self.addresses[number]

    def _forward(self, table: Table) -> None:
        """Rules of a [[forward]]: what comes in to a port of this machine goes to a server behind it."""
        outside = table.names("in", self.cards)
        proto = table.names("proto", ("tcp", "udp"), ["tcp"])
        ports = table.ports("port")
        to, to_port = table.address("to", family=4), table.number("to-port", None, 1, 65535)
        sources, own = table.networks("from", None), table.address("address", None, family=4)
        if to_port is not None and (len(ports) != 1 or not isinstance(ports[0], int)):
            table.fail("to-port", "is for one port; without it ports stay as they are")
        words = {"proto": proto, "dport": ports}
        if sources:
            if any(":" in each for each in sources):
                table.fail("from", "expected IPv4 addresses: a forwarded port is of IPv4")
            words["src"] = sources
        inside = sorted(name for name in self.cards if name not in outside)
        for card in outside:
            for name in proto:
                self._claim(table, (card, name, own), ports, "src" in words)
            words["dst"] = own or self.address_set(card)
            self.prerouting.append(rule(in_=card, **words) >> mark(FORWARDED) >> dnat(to, to_port))
            if table.flag("hairpin", True) and inside:
                self.prerouting.append(rule(in_=inside, **words) >> mark(HAIRPIN) >> dnat(to, to_port))
        if table.flag("hairpin", True):
            for card in inside:  # or the server would answer past this machine
                if (card, to) not in self._answered:
                    self._answered.add((card, to))
                    self.postrouting.append(rule(in_=card, out=card, mark=HAIRPIN, dst=to) >> masquerade)

    def _claim(self, table: Table, where: tuple, ports: list, is_for_some: bool) -> None:
        """Ports of a [[forward]], which no one behind it can have, unless this one is for some sources alone."""
        single, ranges = self._forwarded.setdefault(where, (set(), []))
        for each in ports:
            first, last = number_range(each, 65535, "port", {}, 1)
            is_one = first == last
            if (is_one and first in single) or any(a <= last and first <= b for a, b in ranges):
                table.fail("port", "%s goes somewhere else by another [[forward]] of this card" % each)
            if not is_one and any(first <= port <= last for port in single):
                table.fail("port", "a part of %s goes somewhere else by another [[forward]] of this card" % each)
            if not is_for_some and is_one:
                single.add(first)
            elif not is_for_some:
                ranges.append((first, last))

    def _static(self, table: Table) -> None:
        """Rules of a [[nat.static]]: an address outside stands for one inside, both ways."""
        outside, inside = table.address("outside", family=4), table.address("inside", family=4)
        card = table.names("card", self.cards, MISSING)
        for key, end in [("outside", (outside,))] + [("inside", (inside, name)) for name in card]:
            if end in self._static_ends:
                table.fail(key, "there is another [[nat.static]] of %s" % " at ".join(end))
            self._static_ends.add(end)
        self.prerouting.append(rule(dst=outside) >> dnat(inside))
        self.postrouting.append(rule(out=card, src=inside) >> snat(outside))


def addresses_of(number: int) -> list:
    """The IPv4 addresses of a card now."""
    found = network.LAN(number).ipconfig("addr4")[0]
    return [] if found == "0.0.0.0" else [found]
