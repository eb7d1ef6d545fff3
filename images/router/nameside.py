# SPDX-License-Identifier: MIT
"""DNS for the machines of the networks: names of this network from the leases, all others from other servers. The
server, the forwarder and its cache are those of images/dns."""

import socket

import network
from access import Access
from appliance.listener import families
from authority import Authority
from config import DEFAULTS
from forwarder import Forwarder
from names import Names
from tcp import Limits, TcpServer
from udp import Udp

_UDP_SIZE = 1232


class NameSide:
    """Owns the sockets."""

    def __init__(self, app: object, lan: object, clock: object) -> None:
        self.app = app
        self.names = None
        self.authority = Authority(_UDP_SIZE)
        self._lan = lan
        self._clock = clock
        self._config = None
        self._servers: list = []
        self._udp: list = []

    def start(self, config: object) -> None:
        """Raises OSError."""
        self._config = config
        if config.values.clients == DEFAULTS["clients"]:
            config.access = Access(config.values.clients + _on_links(config), {})
        forwarder = self.names.forwarder if self.names is not None else None
        self.names = Names(config.domains, config.access, self._find, self._find_name)
        self.names.forwarder = forwarder
        self.authority.forwarder = self.names
        self._servers = []
        self.refresh()
        if not self._udp and config.values.dns_port:
            tcp = TcpServer(self.app.loop, self.authority, Limits(), self.app.report)

            def listen(family: int, address: object) -> None:
                self._udp.append(Udp(self.app.loop, self.authority, family, address, self.app.report))
                tcp.listen(family, address)

            families(config.values.dns_port, socket.SOCK_DGRAM, listen)

    def refresh(self) -> None:
        """Ask those that the file names, or that DHCP has told this machine."""
        servers = self._config.upstream or _told()
        if servers == self._servers:
            return
        self._servers = servers
        self.names.forwarder = None
        if servers:
            cache = self._config.values.cache << 10
            self.names.forwarder = Forwarder(self.app.loop, servers, self._config.access, cache)
            self.names.forwarder.udp_size = _UDP_SIZE

    def _find(self, domain: str, name: str) -> int | None:
        """The address of a machine: of [hosts], reserved, or leased."""
        config = self._config
        if domain == config.domain and name in config.hosts:
            return config.hosts[name]
        for lan in config.lans:
            for each in lan.reservations:
                if lan.domain == domain and name and each.name == name:
                    return each.address
        lease = self._lan.server.lease_of(domain, name, self._clock())
        return lease.address if lease is not None else None

    def _find_name(self, address: int) -> object:
        config = self._config
        for name, known in config.hosts.items():
            if known == address:
                return name + "." + config.domain
        for lan in config.lans:
            for each in lan.reservations:
                if each.address == address and each.name:
                    return each.name + "." + lan.domain
        for scope in self._lan.scopes:
            if scope.has(address):
                lease = scope.book.leases.get(address)
                if lease is not None and lease.until > self._clock() and lease.name:
                    return lease.name + "." + scope.domain
                return None
        return False


def _on_links(config: object) -> list:
    """Networks of the cards that are served: their machines are told to ask this one, whatever their addresses are."""
    found = []
    for lan in config.lans:
        if lan.card:
            card = network.LAN(config.plan.cards[lan.card])
            own, mask = card.ipconfig("addr4")
            bits = sum([bin(int(part)).count("1") for part in mask.split(".")])
            found += ["%s/%d" % (own, bits)] if bits else []
            found += [each[0].split("%")[0] + "/64" for each in card.ipconfig("addr6")]
            found += ["%s/%d" % (socket.inet_ntop(socket.AF_INET6, first), size) for first, size in lan.prefixes or []]
    return found


def _told() -> list:
    """By DHCP, or by a router that advertised itself, whose address may be one of a link: of which is not said."""
    found = network.ipconfig("dns")
    if found in (None, "", "0.0.0.0", "::"):
        return []
    if found[:4].lower() == "fe80":
        return [(found, 53, 0, 1 + card) for card in range(len(network.route()))]
    return [(found, 53)]
