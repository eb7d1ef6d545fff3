# SPDX-License-Identifier: MIT
"""router.toml beside what docs/gateway.md has: networks whose machines get addresses and names. Read once, checked."""

import socket

import dhcpmessage
from access import Access
from appliance import Port, Seconds, SettingsError
from gateway import Plan, Table
from leases import Book, Reservation
from packet.values import address, mac_range, network_range

# Who may ask for names: private networks. A server that answers all is a weapon of others.
_NEAR = "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1 fc00::/7 fe80::/10"
DEFAULTS = {
    "domain": "lan",
    "upstream": [],
    "clients": _NEAR.split(),
    "cache": 2048,
    "dns_port": Port(53),
    "leases": "/leases",
    "flows": 0,
    "probe": Seconds(0.3),
    "authoritative": True,
}
TABLES = ("lan", "relayed", "hosts")
_SHARED = ("dhcp", "lease", "router", "dns", "ntp", "mtu", "domain", "routes", "reservation")
_OF_A_CARD = ("card", "advertise", "prefixes")
_KEYS = {"lan": _OF_A_CARD + _SHARED, "relayed": ("network",) + _SHARED}  # noqa: RUF005 - no * in MicroPython 1.25
_MOST = 16384  # addresses of a network to give away
_MOST_SERVERS = 8  # an advertisement is one frame
_LEASE_S = 12 * 3600
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LEAST_LEASE_S = 120


class Lan:
    """A card's network, or one behind a relay agent (card None). Everything of it that the file says."""

    card = None  # its name
    network = None  # (first address, bits); None: that of the card
    advertise = False
    prefixes = None  # [(16 bytes, bits)]; None: those of the card
    mtu = 0

    def __init__(self) -> None:
        self.ranges: list = []
        self.reservations: list = []
        self.lease_s = _LEASE_S
        self.domain = ""
        self.dns6: list = []
        self.router = None  # None: this machine; 0: none
        self.dns = None  # [numbers]; None: this machine
        self.options: dict = {}

    def book(self, own: list) -> Book:
        return Book(self.ranges, self.reservations, own)

    def has_dhcp(self) -> bool:
        return bool(self.ranges or self.reservations)


class Config:
    """All of the file. Raises SettingsError."""

    def __init__(self, values: object) -> None:
        """values: an appliance.Settings of DEFAULTS."""
        self.values = values
        self.plan = Plan(values, TABLES)
        where = self.plan.file + ": "
        self.domain = _domain(values.domain, where + "domain")
        self.lans: list = []
        for name in ("lan", "relayed"):
            for table in Table.each("%s: %s" % (self.plan.file, name), values.tables.get(name, []), _KEYS[name]):
                self.lans.append(self._lan(table, relayed=name == "relayed"))
        cards = [lan.card for lan in self.lans if lan.card]
        for card in cards:
            if cards.count(card) > 1:
                raise SettingsError("%s: lan: card %s has two of them" % (self.plan.file, card))
        self.hosts = self._hosts(values.tables.get("hosts", {}))
        self.domains = sorted({lan.domain for lan in self.lans} | {self.domain})
        key = "clients"
        try:
            self.access = Access(values.clients, {})
            key = "upstream"
            self.upstream = [_endpoint(word) for word in values.upstream]
        except ValueError as exc:
            raise SettingsError("%s%s: %s" % (where, key, exc))
        for key in ("cache", "flows"):
            if getattr(values, key) < 0:
                raise SettingsError("%s%s: %d is less than 0" % (where, key, getattr(values, key)))

    def _hosts(self, content: object) -> dict:
        """{name: address} of [hosts]."""
        table = Table("%s: hosts" % self.plan.file, content, tuple(content) if isinstance(content, dict) else ())
        found = {}
        for name in sorted(table.content):
            if not dhcpmessage.label(name.encode()) or "." in name:
                table.fail(name, "is no name: letters, digits and - are right")
            if name.lower() in found:
                table.fail(name, "there is another one of this name, in other letters")
            found[name.lower()] = address(table.address(name, family=4))[1]
        return found

    def _lan(self, table: Table, relayed: bool) -> Lan:
        lan = Lan()
        if relayed:
            lan.network = _network(table, "network")
        else:
            card = table.names("card", self.plan.cards)
            if len(card) != 1:
                table.fail("card", "expected one card")
            lan.card = card[0]
            lan.advertise = table.flag("advertise", True)
            prefixes = table.networks("prefixes", None)
            if prefixes is not None:
                lan.prefixes = [_prefix(table, each) for each in prefixes]
        lan.domain = _domain(table.text("domain", self.domain), table.where + ": domain")
        lan.lease_s = _seconds(table, "lease", _LEASE_S)
        lan.mtu = table.number("mtu", 0, 576, 9216)
        self._ranges(table, lan)
        self._options(table, lan, relayed)
        return lan

    def _ranges(self, table: Table, lan: Lan) -> None:
        for each in table.items("dhcp", [], words="a range of addresses, a-b"):
            try:
                family, first, last = network_range(each)
            except ValueError as exc:
                table.fail("dhcp", "%r: expected a range of IPv4 addresses, a-b: %s" % (each, exc))
            if family != 4 or "/" in each:
                table.fail("dhcp", "%s: expected a range of IPv4 addresses, a-b" % each)
            for other, end in lan.ranges:
                if first <= end and other <= last:
                    table.fail("dhcp", "%s: there is another range with some of it" % each)
            lan.ranges.append((first, last))
        if sum([last - first + 1 for first, last in lan.ranges]) > _MOST:
            table.fail("dhcp", "more than %d addresses" % _MOST)
        known = {}
        keys = ("mac", "client-id", "address", "name")
        within = table.where.rsplit(" ", 2)[-2] + "."
        for each in Table.each(table.where + ": reservation", table.content.get("reservation", []), keys, within):
            made = _reservation(each)
            for what in (made.key, made.address, made.name):
                if what in known:
                    each.fail(None, "there is another one of this client, address or name")
                if what:
                    known[what] = made
            lan.reservations.append(made)

    def _options(self, table: Table, lan: Lan, relayed: bool) -> None:
        """Options that do not depend on the card's address."""
        options = lan.options
        router = table.text("router", None)
        if router is not None:
            lan.router = 0 if router == "none" else address(table.address("router", family=4))[1]
        elif relayed:
            table.fail(None, "router is missing: an address, or none")
        servers = table.items("dns", None)
        if servers is not None:
            found = [(table.a_machines("dns", each), each) for each in servers]
            lan.dns = [pair[0][1] for pair in found if pair[0][0] == 4]
            if len(servers) > _MOST_SERVERS:
                table.fail("dns", "more than %d" % _MOST_SERVERS)
            lan.dns6 = [socket.inet_pton(socket.AF_INET6, pair[1]) for pair in found if pair[0][0] == 6]
        clocks = table.items("ntp", None)
        if clocks:
            options[dhcpmessage.NTP] = packed([table.a_machines("ntp", each, 4)[1] for each in clocks])
        if lan.mtu:
            options[dhcpmessage.MTU] = lan.mtu.to_bytes(2, "big")
        options[dhcpmessage.DOMAIN] = lan.domain.encode()
        routes = table.items("routes", None, words="a route, as 10.0.0.0/8 via 10.1.0.2")
        if routes:
            options[dhcpmessage.ROUTES] = b"".join([_route(table, each) for each in routes])


def packed(numbers: list) -> bytes:
    return b"".join([number.to_bytes(4, "big") for number in numbers])


def _network(table: Table, key: str) -> tuple:
    text = table.text(key)
    try:
        family, first, _ = network_range(text)
    except ValueError as exc:
        table.fail(key, exc)
    if family != 4 or "/" not in text:
        table.fail(key, "%s: expected a network of IPv4, as 10.9.0.0/24" % text)
    return first, int(text.split("/")[1])


def _prefix(table: Table, text: str) -> tuple:
    family, first, _ = network_range(text)
    if family != 6 or not text.endswith("/64"):
        table.fail("prefixes", "%s: expected prefixes of IPv6, each /64" % text)
    return first.to_bytes(16, "big"), 64


def _seconds(table: Table, key: str, default: int) -> int:
    value = table.content.get(key, default)
    number, unit = value, 1
    if type(value) is str:
        unit = _UNITS.get(value[-1:], 0)
        number = int(value[:-1]) if value[:-1].isdigit() else 0
    if type(number) is not int or not _LEAST_LEASE_S <= number * unit < 0x7FFFFFFF:
        table.fail(key, "%r: expected a time of %d s or more, as 3600, 30m or 12h" % (value, _LEAST_LEASE_S))
    return number * unit


def _domain(text: str, where: str) -> str:
    text = text.lower().rstrip(".")
    for part in text.split("."):
        if dhcpmessage.label(part.encode()) != part or not part:
            raise SettingsError("%s: %r is no name of a domain" % (where, text))
    if len(text) > 200:
        raise SettingsError("%s: it is too long" % where)
    return text


def _endpoint(text: str) -> tuple:
    """(address, port) of ADDRESS or ADDRESS@PORT. Raises ValueError."""
    host, at, port = text.partition("@")
    address(host)
    if at and not (port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("%s is no ADDRESS@PORT" % text)
    return host, int(port) if at else 53


def _reservation(table: Table) -> Reservation:
    mac, client = table.text("mac", None), table.text("client-id", None)
    if (mac is None) == (client is None):
        table.fail(None, "one of mac and client-id is right")
    if mac is not None:
        try:
            key = b"m" + mac_range(mac)[0].to_bytes(6, "big")
        except ValueError as exc:
            table.fail("mac", exc)
    else:
        key = b"i" + client.encode()
        if not client:
            table.fail("client-id", "is empty")
    name = table.text("name", "").lower()
    if name and dhcpmessage.label(name.encode()) != name:
        table.fail("name", "%r is no name of a machine" % name)
    return Reservation(address(table.address("address", family=4))[1], key, name)


def _route(table: Table, text: str) -> bytes:
    """One of RFC 3442."""
    prefix, _, router = text.partition(" via ")
    family = hop = exc = None
    try:
        family, first, _ = network_range(prefix.strip())
        hop = address(router.strip())
    except ValueError as e:
        exc = e
    if exc is not None or family != 4 or hop[0] != 4 or "/" not in prefix:
        why = ": %s" % exc if exc is not None and router else ""
        table.fail("routes", "%r: expected a route, as 10.0.0.0/8 via 10.1.0.2%s" % (text, why))
    bits = int(prefix.strip().split("/")[1])
    return bytes((bits,)) + first.to_bytes(4, "big")[: (bits + 7) // 8] + hop[1].to_bytes(4, "big")
