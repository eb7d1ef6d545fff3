# SPDX-License-Identifier: MIT
"""A card of the router: what comes by its link beside sockets, and what goes out there."""

import _link
import ether
import network
from appliance.loop import IN
from dhcpserver import Arrival
from probes import Probes

DHCP, ARP, SOLICIT = 1, 2, 4  # kinds of frames (modules/link)
_SERVER, _CLIENT = 67, 68
_TURN = 16  # frames before others have their turn
_ALL = 0xFFFFFFFF


class Card:
    """Owns the listening of one card. clock(): seconds; server: takes what comes for DHCP, or None."""

    def __init__(self, loop: object, name: str, number: int, report: object) -> None:
        """Raises OSError."""
        self.name = name
        self.number = number
        self.lan = network.LAN(number)
        self.mac = self.lan.config("mac")
        self.server = None
        self.scope = None
        self.clock = None
        self.advertiser = None
        self.malformed = 0
        self.probes = None
        self._loop = loop
        self._report = report
        self._link = None

    def listen(self, kinds: int, probe_ms: int) -> None:
        """Raises OSError."""
        if self._link is None:
            self.lan.ipconfig(autoconf6=False)  # this is the router here: who advertises himself beside is not believed
        self.quiet()
        self._link = _link.Link(self.number, kinds)
        self.probes = Probes(self._loop, self.mac, self.send, probe_ms)
        self._loop.watch(self._link, self, IN)

    def quiet(self) -> None:
        """Listen no more."""
        if self._link is not None:
            self._loop.unwatch(self._link)
            self._link = _link.Link(self.number, 0)
        self.server = self.scope = None

    def is_router(self, on: bool = True) -> None:
        """Whether neighbours are told so from now on."""
        self._link.router(on)

    def lost(self) -> int:
        """Frames for which there was no room."""
        return self._link.lost() if self._link is not None else 0

    def address(self) -> int:
        """Of IPv4; 0: none."""
        parts = [int(part) for part in self.lan.ipconfig("addr4")[0].split(".")]
        return parts[0] << 24 | parts[1] << 16 | parts[2] << 8 | parts[3]

    def ready(self, events: int) -> None:
        for _ in range(_TURN):
            frame = self._link.recv()
            if frame is None:
                return
            kind = ether.kind(frame)
            try:
                if kind == 0x0806:
                    said = ether.arp_reply(frame)
                    if said is not None:
                        self.probes.heard(said[0], said[1])
                elif kind == 0x86DD:
                    if self.advertiser is not None:
                        self.advertiser.asked(ether.Solicitation(frame))
                else:
                    self._dhcp(ether.Datagram(frame))
            except ValueError:
                self.malformed += 1

    def failed(self, exc: Exception) -> None:
        self._report(exc)

    def _dhcp(self, datagram: object) -> None:
        address = self.address()
        if self.server is not None and address:
            self.server.take(datagram.data, Arrival(address, self.scope, datagram.mac, self), self.clock())

    def send(self, frame: bytes) -> bool:
        return self._link.send(frame)

    def reply(self, arrival: Arrival, message: object, to: int, data: bytes) -> None:
        """An answer of the DHCP server: to a relay agent, to an address that the client has or gets, or (0) to all. It
        goes to the hardware address of its receiver: nobody answers yet for an address that is only offered."""
        port = _CLIENT
        if message.giaddr:
            to, mac, port = message.giaddr, arrival.mac, _SERVER
        elif not to:
            to, mac = _ALL, ether.BROADCAST
        elif message.ciaddr:
            mac = arrival.mac
        else:
            mac = message.hardware if len(message.hardware) == 6 else ether.BROADCAST
        self.send(ether.datagram((self.mac, mac), (arrival.address, to), (_SERVER, port), data))
