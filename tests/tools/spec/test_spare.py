# SPDX-License-Identifier: MIT
"""network.py: addresses that a card has to spare for children of its VM."""

from __future__ import annotations

import pytest

from floe.errors import UsageError
from floe.spec import network


def test_addresses_for_children() -> None:
    card = network.parse_card("tap:t,ip=10.0.0.2/24+2,gw=10.0.0.1,ip6=fd00::2/64+16")
    assert (card.ip, card.spare, card.ip6, card.spare6) == ("10.0.0.2/24", 2, "fd00::2/64", 16)
    assert network.guest_words([card]) == ["ip=10.0.0.2/24,gw=10.0.0.1", "ip6=fd00::2/64"]
    assert network.spare_addresses(card.ip, card.spare) == ["10.0.0.3/24", "10.0.0.4/24"]
    assert network.parse_card("tap:t,ip=10.0.0.2/29+4").spare == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tap:t,ip=10.0.0.2/24+0", "from 1 to 1024"),
        ("tap:t,ip=10.0.0.2/24+1025", "from 1 to 1024"),
        ("tap:t,ip=10.0.0.2/24+", "from 1 to 1024"),
        ("tap:t,ip=dhcp+3", "from 1 to 1024"),
        ("tap:t,ip=10.0.0.2/29+5", "fewer than 5 addresses"),
        ("tap:t,ip6=fd00::2/126+2", "fewer than 2 addresses"),
        ("tap:t,ip=10.0.0.2/24+9,gw=10.0.0.4", "the gateway is among"),
        ("user,ip=10.0.0.5/24+2", "on a user network"),
    ],
)
def test_no_addresses_for_children(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        network.parse_card(text)
