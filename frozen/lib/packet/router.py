# SPDX-License-Identifier: MIT
"""Forwarding, routes and counters: what packet.forward(), packet.route and their like are."""

import _packet
import network

_FLOW = ("proto", "src", "dst", "reply_src", "reply_dst", "packets", "bytes", "reply_packets", "reply_bytes", "replied")
_KEYS = ("prefix", "via", "card", "kind")


def forward(on=True):
    """Whether packets that are not for this machine go on to where their routes lead. Off until this is called."""
    _packet.forward(on)


def vlan(card, tag, ip=None, ip6=None):
    """A card for the frames of this card that have this VLAN tag; its number, for all that takes a card's.

    ip, ip6: its addresses, as "10.7.0.1/24"; network.LAN(number) is for the rest. OSError ENODEV: no such card;
    EEXIST: the tag has a card; ENOSPC: eight cards are all there can be. ValueError: no such tag.
    """
    return _addressed(_packet.vlan(card, tag), ip, ip6)


def bridge(cards, filter=False, ip=None, ip6=None):
    """Make one link of the links of these cards; the number of this machine's own card on it.

    filter: whether prerouting, forward and postrouting are asked about what goes from card to card, too. ip, ip6: the
    own card's addresses; the others have none. A loop is not found: there is no spanning tree. OSError ENODEV: no such
    card; EEXIST: one of them is in a bridge; ENOSPC: eight cards are all there can be. ValueError: fewer than two.
    """
    bits = 0
    for card in cards:
        bits |= 1 << card
    return _addressed(_packet.bridge(bits, filter), ip, ip6)


def _addressed(card, ip, ip6):
    lan = network.LAN(card)
    if ip is not None:
        lan.ipconfig(addr4=ip)
    if ip6 is not None:
        lan.ipconfig(addr6=ip6)
    return card


def counters():
    """How many packets went which way, by name; of what was dropped why (docs/router.md)."""
    return _packet.counters()


class _Routes:
    """What `packet.route` is."""

    @staticmethod
    def add(prefix, via=None, card=None):
        """Add a route, or replace the one of this prefix: by the router `via`, or straight out of a card.

        `card` is a card's number, as network.LAN() counts them; without it `via` says which. OSError EHOSTUNREACH: no
        card's network has `via`; ENODEV: no such card; EEXIST: an address of this machine's; ENOSPC: too many routes.
        """
        try:
            _packet.add(prefix, via, card)
        except OSError as exc:
            way = via if card is None else "card %s" % card
            raise OSError(exc.errno, "route to %s by %s" % (prefix, way)) from None

    @staticmethod
    def remove(prefix):
        """Take away a route that add() made. OSError ENOENT: there is none."""
        _packet.remove(prefix)


route = _Routes()


def routes():
    """All routes, one dict each: prefix, via (None: straight), card, and kind: static, connected, default, ..."""
    out = []
    for address, bits, via, card, kind in _packet.routes():
        out.append(dict(zip(_KEYS, (f"{address}/{bits}", via, card, kind))))
    return out


def track(flows=0):
    """Keep track of so many flows; 0: as an eighth of memory holds. Those that are known are forgotten. Loading rules
    begins it where nobody did. ValueError: that many cannot be; OSError ENOMEM."""
    _packet.track(flows)


def flows():
    """An iterator of the flows, one dict each; what comes and goes meanwhile may be missed.

    src, dst: (address, port) of the first packet (of an ICMP echo its identifier); reply_src, reply_dst: of what comes
    back, which is another pair where addresses are translated; packets, bytes, reply_packets, reply_bytes, replied.
    """
    cursor = 0
    while cursor >= 0:
        some, cursor = _packet.flows(cursor)
        for flow in some:
            yield dict(zip(_FLOW, flow))


def flow_count():
    """How many flows there are."""
    return _packet.flows()
