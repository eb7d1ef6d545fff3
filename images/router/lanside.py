# SPDX-License-Identifier: MIT
"""The networks that this router serves: addresses by DHCP and advertisements, on each card and behind relay agents."""

import dhcpmessage
from advertise import Advertiser
from appliance import SettingsError
from card import ARP, DHCP, SOLICIT, Card
from config import packed
from dhcpserver import Scope, Server
from ether import ip4_text
from leasefile import LeaseFile
from names import wire

_FORGET_MS = 60000


class LanSide:
    """Owns the cards, the leases and their file."""

    def __init__(self, app: object, clock: object) -> None:
        self.app = app
        self.clock = clock
        self.cards: dict = {}  # number -> Card
        self.scopes: list = []
        self.advertisers: dict = {}  # number -> Advertiser
        self.file = LeaseFile(app.settings.leases, app.log, self.leases)
        self.file.try_it()
        self.server = Server(app.log, self.file, self._send, self._probe)
        self._started = False

    def leases(self) -> list:
        found = []
        for scope in self.scopes:
            found += scope.book.leases.values()
        return found

    def checked(self, config: object) -> tuple:
        """What a configuration says, for start(); nothing has changed. Raises SettingsError, OSError."""
        cards = dict(self.cards)
        made = []
        for lan in config.lans:
            card = None
            if lan.card:
                number = config.plan.cards[lan.card]
                card = cards.get(number) or Card(self.app.loop, lan.card, number, self.app.report)
                cards[number] = card
            made.append((lan, card, _scope_of(lan, card, config.plan.file) if lan.has_dhcp() else None))
        if any(card is None for _, card, _ in made) and not any(card is not None for _, card, _ in made):
            text = "%s: relayed: no card listens; right is a [[lan]] with the card of the relay agents"
            raise SettingsError(text % config.plan.file)
        return cards, made

    def start(self, config: object, served: tuple) -> None:
        """Serve it from now on. served: what checked() returned."""
        cards, made = served
        known = self.leases() if self._started else self.file.load()
        self.server.forget_all_names()
        self.server.authoritative = config.values.authoritative
        self.server.relayed = [scope for lan, card, scope in made if card is None and scope is not None]
        self.scopes = [scope for _, _, scope in made if scope is not None]
        for lease in known:
            for scope in self.scopes:
                book = scope.book
                reserved = book.reservation(lease.key, lease.hardware)
                if book.in_range(lease.address) or (reserved is not None and reserved.address == lease.address):
                    self.server.know(scope, lease)
        self._open(cards, made, config)
        if not self._started:
            self._started = True
            self.app.loop.call_later(_FORGET_MS, self._forget, _FORGET_MS)
            if self.scopes:
                where = self.file.path or "memory alone: no disk can be written"
                self.app.log.info("dhcp: %d leases are known, kept in %s", len(self.leases()), where)

    def _open(self, cards: dict, made: list, config: object) -> None:
        for card in cards.values():
            card.quiet()
        wanted = {}
        for lan, card, scope in made:
            if card is None:
                continue
            kinds = SOLICIT if lan.advertise else 0
            if scope is not None or self.server.relayed:
                kinds |= DHCP | ARP
            card.listen(kinds, int(config.values.probe * 1000))
            if scope is not None or self.server.relayed:
                card.server, card.scope, card.clock = self.server, scope, self.clock
            if lan.advertise:
                wanted[card.number] = _Advertised(lan)
        for number, advertiser in self.advertisers.items():
            if number not in wanted:
                advertiser.stop()
                cards[number].advertiser = None
        for number, settings in wanted.items():
            if number in self.advertisers:
                self.advertisers[number].change(settings)
            else:
                self.advertisers[number] = cards[number].advertiser = Advertiser(self.app.loop, cards[number], settings)
                self.advertisers[number].start()
        self.advertisers = {number: self.advertisers[number] for number in wanted}
        self.cards = cards

    def stop(self) -> None:
        """Neighbours hear that this is no router any more."""
        for advertiser in self.advertisers.values():
            advertiser.stop()
        self.file.close()

    def problems(self) -> object:
        """For app.check()."""
        return self.file.problem or True

    def _forget(self) -> None:
        self.server.forget_names(self.clock())

    def _send(self, arrival: object, message: object, to: int, data: bytes) -> None:
        arrival.card.reply(arrival, message, to, data)

    def _probe(self, card: object, address: int, owner: bytes, done: object) -> bool:
        return card.probes.ask(address, owner, done)


class _Advertised:
    """What an Advertiser wants to know."""

    def __init__(self, lan: object) -> None:
        self.mtu = lan.mtu
        self.dns = True if lan.dns is None else lan.dns6
        self.domains = [lan.domain]
        self.prefixes = lan.prefixes


def _scope_of(lan: object, card: object, file: str) -> Scope:
    """Raises SettingsError."""
    where = "%s: lan: card %s: " % (file, lan.card)
    options = dict(lan.options)
    if card is not None:
        own = card.address()
        if card.lan.ipconfig("dhcp4"):
            raise SettingsError(where + "its own address comes by DHCP; --net gives it one, as ip=10.1.0.1/24")
        if not own:
            raise SettingsError(where + "it has no IPv4 address; --net gives it one, as --net tap:NAME,ip=10.1.0.1/24")
        mask = _number(card.lan.ipconfig("addr4")[1])
        bits = bin(mask).count("1")
        network = (own & mask, bits)
        router = own if lan.router is None else lan.router
        options[dhcpmessage.DNS] = packed([own] if lan.dns is None else lan.dns)
    else:
        where, own, network, router = file + ": relayed: ", 0, lan.network, lan.router
        mask = 0xFFFFFFFF << (32 - network[1]) & 0xFFFFFFFF
        if lan.dns:
            options[dhcpmessage.DNS] = packed(lan.dns)
    options[dhcpmessage.MASK] = mask.to_bytes(4, "big")
    if router:
        options[dhcpmessage.ROUTER] = router.to_bytes(4, "big")
    options[dhcpmessage.SEARCH] = wire(lan.domain)
    if not options.get(dhcpmessage.DNS):
        options.pop(dhcpmessage.DNS, None)
    last = network[0] | (~mask & 0xFFFFFFFF)
    book = lan.book([own, router or own, network[0], last])
    scope = Scope(lan.card or ip4_text(network[0]), network, book, lan.lease_s)
    scope.options = options
    scope.domain = lan.domain
    for address in [each for pair in lan.ranges for each in pair] + [each.address for each in lan.reservations]:
        if not scope.has(address):
            raise SettingsError("%s%s is not in %s/%d" % (where, ip4_text(address), ip4_text(network[0]), network[1]))
    for each in lan.reservations:
        if each.address in (own, router, network[0], last):
            raise SettingsError("%sreservation: %s is a router's, or the network's" % (where, ip4_text(each.address)))
    return scope


def _number(text: str) -> int:
    number = 0
    for part in text.split("."):
        number = number << 8 | int(part)
    return number
