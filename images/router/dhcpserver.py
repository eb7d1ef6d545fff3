# SPDX-License-Identifier: MIT
"""A DHCP server's part of the conversation (RFC 2131, 4.3): a message in, an answer out. No sockets.

Before an address is offered that its client does not have already, it is probed: somebody may use it.
"""

import dhcpmessage
from dhcpmessage import ACK, DECLINE, DISCOVER, INFORM, NAK, OFFER, RELEASE, REQUEST
from ether import ip4_text, mac_text
from leases import Lease

_TRIES = 3  # addresses that may turn out to be in use, for one request
_DECLINED_S = 600
_SOON = 8  # a client that comes again within this part (1/8) of its lease gets no longer one
_LINES_A_SECOND = 10


class Scope:
    """A network whose addresses are given away."""

    def __init__(self, name: str, network: tuple, book: object, lease_s: int) -> None:
        """network: (first address, length of the prefix)."""
        self.name = name
        self.network, self.bits = network
        self.book = book
        self.lease_s = lease_s
        self.options: dict = {}  # code -> bytes
        self.domain = ""

    def has(self, address: int) -> bool:
        return (address ^ self.network) >> (32 - self.bits) == 0


class Arrival:
    """Where a message came from. address: this machine's on that card; scope: of that card, or None."""

    def __init__(self, address: int, scope: object, mac: bytes, card: object) -> None:
        self.address = address
        self.scope = scope
        self.mac = mac
        self.card = card


class Server:
    """send(arrival, message, address, data): an answer, to 0: all. store: keeps leases. probe(card, address,
    done(in_use) -> None) -> bool: ask who has an address; False: too many are asked for."""

    def __init__(self, log: object, store: object, send: object, probe: object) -> None:
        self._log = log
        self._store = store
        self._send = send
        self._probe = probe
        # There is no other server: a client that asks for an address unknown here is told that it may not have it.
        self.authoritative = True
        self.relayed: list = []  # Scopes behind relay agents
        self.counts: dict = {}  # what came and went -> how often
        self._asking: dict = {}  # (scope, key) -> the latest message, while an address is asked for
        self._names: dict = {}  # (domain, name) -> Lease or Reservation
        self._told = 0
        self._lines = 0  # of the log in this second
        self._second = 0

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _say(self, now: int, text: str, *args: object) -> None:
        """A line of the log. What strangers can cause is no more than some lines a second."""
        if now != self._second:
            if self._lines > _LINES_A_SECOND:
                self._log.info("dhcp: %d lines were left out", self._lines - _LINES_A_SECOND)
            self._second, self._lines = now, 0
        self._lines += 1
        if self._lines <= _LINES_A_SECOND:
            self._log.info(text, *args)

    def take(self, data: bytes, arrival: Arrival, now: int) -> None:
        """A message has come."""
        try:
            message = dhcpmessage.Message(data)
        except dhcpmessage.FormatError:
            self.count("malformed")
            return
        self.count(dhcpmessage.NAMES[message.kind])
        scope = arrival.scope
        if message.giaddr:
            own = [] if scope is None else [scope]
            found = [one for one in self.relayed + own if one.has(message.giaddr)]
            scope = found[0] if found else None
        if scope is None:
            self.count("no_network")
            return
        arrival.scope = scope
        kind = message.kind
        if kind == DISCOVER:
            self._discover(message, arrival, now)
        elif kind == REQUEST:
            self._request(message, arrival, now)
        elif kind == DECLINE and message.server == arrival.address and message.wanted is not None:
            self._decline(message, arrival, now)
        elif kind == RELEASE:
            lease = scope.book.release(message.ciaddr, message.key)
            if lease is not None:
                self._store.put(lease)
                self._say(now, "dhcp: %s is released", ip4_text(lease.address))
        elif kind == INFORM and message.ciaddr:
            self._answer(message, ACK, arrival, (0, scope.options))

    # ---- an offer -------------------------------------------------------------------------------

    def _discover(self, message: object, arrival: Arrival, now: int) -> None:
        key = (arrival.scope.name, message.key)
        if key in self._asking:
            self._asking[key] = message  # the answer goes to the latest one
        else:
            self._find(message, arrival, now, _TRIES)

    def _find(self, message: object, arrival: Arrival, now: int, tries: int) -> None:
        scope = arrival.scope
        book = scope.book
        address = book.find(message, message.wanted, now)
        if address is None:
            self.count("exhausted")
            if now - self._told >= 60:
                self._told = now
                self._log.warning("dhcp: %s: no address is left", scope.name)
            return
        lease = book.by_key.get(message.key)
        known = lease is not None and lease.address == address and lease.until > now
        if known or message.giaddr:  # who is behind a relay agent cannot be asked
            self._offer(message, arrival, address, now)
            return
        key = (scope.name, message.key)

        def done(in_use: bytes | None) -> None:
            latest = self._asking.pop(key)
            if in_use is None:
                self._offer(latest, arrival, address, now)
                return
            self.count("conflict")
            self._say(now, "dhcp: %s is in use by %s", ip4_text(address), mac_text(in_use))
            book.decline(address, now + _DECLINED_S)
            if tries > 1:
                self._find(latest, arrival, now, tries - 1)

        self._asking[key] = message
        book.offer(address, message.key, now)  # nobody else is asked about it
        if not self._probe(arrival.card, address, message.hardware, done):
            del self._asking[key]
            book.withdraw(message.key)
            self.count("too_many")

    def _offer(self, message: object, arrival: Arrival, address: int, now: int) -> None:
        arrival.scope.book.offer(address, message.key, now)
        options = self._options(message, arrival, self._lease_s(message, arrival.scope))
        self._answer(message, OFFER, arrival, (address, options))

    # ---- a lease --------------------------------------------------------------------------------

    def _request(self, message: object, arrival: Arrival, now: int) -> None:
        scope = arrival.scope
        book = scope.book
        if message.server is not None and message.server != arrival.address:
            book.withdraw(message.key)  # another server was chosen
            return
        address = message.ciaddr or message.wanted
        if not address or (message.server is not None and message.ciaddr and message.wanted):
            self.count("malformed")
            return
        known = book.by_key.get(message.key)
        if known is None and message.server is None and not self.authoritative:
            return
        if not scope.has(address) or not book.may_have(address, message, now):
            self._refuse(message, arrival, address, now)
            return
        if known is not None and known.address != address and known.until > now and message.server is None:
            self._refuse(message, arrival, address, now)  # it has another one
            return
        seconds = self._lease_s(message, scope)
        lease = Lease(address, message.key, message.hardware, now + seconds, "")
        lease.name = self._name(message, scope, lease, now)
        same = known is not None and known.address == address and known.name == lease.name
        if same and seconds - seconds // _SOON < known.until - now <= seconds:
            self._grant(message, arrival, known, now)  # it comes early: what is left of its lease is its lease
            return
        self._forget_name(scope, known)
        book.grant(lease)
        if lease.name and not self._is_reserved(lease.name, scope):
            self._names[scope.domain, lease.name] = lease
        if not self._store.put(lease):
            self.count("unstored")
        self._grant(message, arrival, lease, now)
        if known is None or known.address != address:
            self._say(now, "dhcp: %s is %s %s", ip4_text(address), mac_text(message.hardware[:6]), lease.name)

    def _grant(self, message: object, arrival: Arrival, lease: Lease, now: int) -> None:
        options = self._options(message, arrival, lease.until - now)
        self._answer(message, ACK, arrival, (lease.address, options))

    def _refuse(self, message: object, arrival: Arrival, address: int, now: int) -> None:
        self.count("nak")
        self._say(now, "dhcp: %s may not have %s", mac_text(message.hardware[:6]), ip4_text(address))
        data = dhcpmessage.answer(message, NAK, (0, arrival.address), {})
        self._send(arrival, message, 0, data)

    def _decline(self, message: object, arrival: Arrival, now: int) -> None:
        book = arrival.scope.book
        lease = book.leases.get(message.wanted)
        if lease is not None and lease.key == message.key:
            lease.until = 0
            self._forget_name(arrival.scope, lease)
            self._store.put(lease)
            book.decline(message.wanted, now + _DECLINED_S)
            self._say(now, "dhcp: %s is in use, says its client", ip4_text(message.wanted))

    def _lease_s(self, message: object, scope: Scope) -> int:
        """What the client asked for, if that is less than it would get."""
        asked = message.options.get(dhcpmessage.LEASE)
        if asked is None or len(asked) != 4:
            return scope.lease_s
        return max(min(int.from_bytes(asked, "big"), scope.lease_s), min(60, scope.lease_s))

    # ---- names ----------------------------------------------------------------------------------

    def _name(self, message: object, scope: Scope, lease: Lease, now: int) -> str:
        """The client's name, unless somebody else has it."""
        reserved = scope.book.reservation(message.key, message.hardware)
        if reserved is not None and reserved.name:
            return reserved.name
        name = message.host()
        return "" if not name or self._is_taken(name, scope, lease, now) else name

    @staticmethod
    def _is_reserved(name: str, scope: Scope) -> bool:
        return any(each.name == name for each in scope.book.reserved.values())

    def _is_taken(self, name: str, scope: Scope, lease: Lease, now: int) -> bool:
        holder = self._names.get((scope.domain, name))
        held = holder is not None and holder.key != lease.key and holder.until > now
        return held or self._is_reserved(name, scope)

    def _forget_name(self, scope: Scope, lease: Lease | None) -> None:
        if lease is not None and self._names.get((scope.domain, lease.name)) is lease:
            del self._names[scope.domain, lease.name]

    def know(self, scope: Scope, lease: Lease) -> None:
        """A lease of an earlier run."""
        scope.book.grant(lease)
        if lease.name:
            self._names[scope.domain, lease.name] = lease

    def lease_of(self, domain: str, name: str, now: int) -> Lease | None:
        lease = self._names.get((domain, name))
        return lease if lease is not None and lease.until > now and lease.name == name else None

    def forget_all_names(self) -> None:
        """Before know() says them anew."""
        self._names.clear()

    def forget_names(self, now: int) -> None:
        """Those of leases that are over."""
        for key, lease in list(self._names.items()):
            if lease.until <= now:
                del self._names[key]

    # ---- answers --------------------------------------------------------------------------------

    def _options(self, message: object, arrival: Arrival, seconds: int) -> dict:
        scope = arrival.scope
        options = dict(scope.options)
        options[dhcpmessage.LEASE] = seconds.to_bytes(4, "big")
        options[dhcpmessage.RENEW] = (seconds // 2).to_bytes(4, "big")
        options[dhcpmessage.REBIND] = (seconds * 7 // 8).to_bytes(4, "big")
        reserved = scope.book.reservation(message.key, message.hardware)
        if reserved is not None and reserved.name:
            options[dhcpmessage.HOST] = reserved.name.encode()
        return options

    def _answer(self, message: object, kind: int, arrival: Arrival, what: tuple) -> None:
        self.count(dhcpmessage.NAMES[kind])
        data = dhcpmessage.answer(message, kind, (what[0], arrival.address), what[1])
        to = message.ciaddr or (0 if message.is_broadcast() else what[0])
        self._send(arrival, message, to, data)
