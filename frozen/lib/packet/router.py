# SPDX-License-Identifier: MIT
"""Forwarding, routes and counters: what packet.forward(), packet.route and their like are."""

import _packet
import network  # the cards come with it
from _packet import counters

_KEYS = ("prefix", "via", "card", "kind")


def forward(on=True):
    """Whether packets that are not for this machine go on to where their routes lead. Off until this is called."""
    _packet.forward(on)


class _Routes:
    """What `packet.route` is."""

    @staticmethod
    def add(prefix, via=None, card=None):
        """Add a route, or replace the one of this prefix: by the router `via`, or straight out of a card.

        `card` is a card's number, as network.LAN() counts them; without it `via` says which. OSError EHOSTUNREACH: no
        card's network has `via`; ENODEV: no such card; EEXIST: an address of this machine's; ENOSPC: too many routes.
        """
        _packet.add(prefix, via, card)

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
