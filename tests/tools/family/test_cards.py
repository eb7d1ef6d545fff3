# SPDX-License-Identifier: MIT
"""tools/floe/family/cards.py: the network cards of a copy."""

from __future__ import annotations

import errno

import pytest

from floe.family import cards
from floe.family.cards import CannotForkError
from floe.spec.network import Card, parse_cards, with_macs

UUID = "7a1c6a3e-0000-4000-8000-000000000001"


def test_wires_and_hardware_addresses_are_its_own() -> None:
    words = [
        "user,mac=52:54:00:00:00:09",
        "bridge:br0,mac=02:00:00:00:00:01",
        "connect:/s,ip=10.0.0.2/24+3",
        "tap:tap0",
    ]
    own = cards.of_copy(parse_cards(words), UUID, {"tap0": "br7"}.__getitem__)
    assert [(card.kind, card.name) for card in own] == [
        ("user", ""),
        ("bridge", "br0"),
        ("connect", "/s"),
        ("bridge", "br7"),
    ]
    assert own[0].mac == "52:54:00:00:00:09"
    assert [card.mac for card in own[1:]] == [c.mac for c in with_macs([Card("tap")] * 4, UUID)[1:]]


@pytest.mark.parametrize(("word", "said"), [("listen:/s", "listen:/s is a wire"), ("tap:tap0", "tap0 is one VM's")])
def test_a_wire_for_one(word: str, said: str) -> None:
    with pytest.raises(CannotForkError, match=said) as error:
        cards.of_copy(parse_cards([word]), UUID, lambda name: "")
    assert error.value.number == errno.EOPNOTSUPP


def test_who_comes_late_gets_what_was_free_longest() -> None:
    shared = parse_cards(["user", "tap:a,ip=10.0.0.2/24+3,ip6=fd00::2/64+3", "tap:b"])
    assert cards.spare(shared, set(), 0) == [("", ""), ("10.0.0.3/24", "fd00::3/64"), ("", "")]
    assert cards.spare(shared, {"10.0.0.5/24"}, 5)[1] == ("10.0.0.3/24", "fd00::5/64")
    taken = {f"10.0.0.{n}/24" for n in (3, 4, 5)}
    with pytest.raises(CannotForkError, match=r"ip=10\.0\.0\.2/24\+3 are in use") as error:
        cards.spare(shared, taken, 0)
    assert error.value.number == errno.EADDRNOTAVAIL
    with pytest.raises(CannotForkError, match=r"card 0: ip6=fd00::2/64\+N would"):
        cards.spare(parse_cards(["tap:a,ip6=fd00::2/64"]), set(), 0)


def test_what_the_guest_is_told() -> None:
    shared = with_macs(parse_cards(["user", "tap:a,ip=10.0.0.2/24+1", "tap:b", "tap:c,ip=none,ip6=fd00::2/64+1"]), UUID)
    own = cards.told(shared, cards.spare(shared, set(), 0))
    assert cards.identity(own) == {
        "mac1": shared[1].mac,
        "ip1": "10.0.0.3/24",
        "mac2": shared[2].mac,
        "mac3": shared[3].mac,
        "ip63": "fd00::3/64",
    }
    assert cards.addresses(own) == ["10.0.0.3/24", "fd00::3/64"]
