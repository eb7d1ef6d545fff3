# SPDX-License-Identifier: MIT
"""Ports that are spread over a family of VMs. All other ones: test_network.py."""

from __future__ import annotations

from floe.qemu import words
from floe.spec import ports
from floe.spec.network import Card
from floe.spec.ports import Forward


def test_what_was_typed() -> None:
    forward = ports.parse_forward("8080:80/spread")
    assert forward == Forward("127.0.0.1", 8080, 80, spread=True)
    assert forward.option() == "-p 8080:80/spread"


def test_what_is_spread_goes_through_a_port_of_its_own() -> None:
    asked = ports.parse_forwards("0:80/spread") + ports.parse_forwards("0:81")
    spread, plain = ports.claim(asked, through=True)
    assert (spread.through != 0, plain.through) == (True, 0)
    assert ports.forward_of(spread.told()) == spread
    card = words.netdev(Card(), 0, (spread,), vhost=False)
    assert card.endswith(f",hostfwd=tcp:127.0.0.1:{spread.through}-10.0.2.15:80")
