# SPDX-License-Identifier: MIT
"""Network cards of a VM that is a copy of another one: on networks that others are in, too, its wires, hardware
addresses and addresses are its own. On a user network it is alone, and all is as it was."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from floe.errors import FloeError
from floe.spec import network
from floe.spec.network import Card

Addresses = tuple[str, str]  # IPv4 and IPv6, ADDR/BITS; "" for none


class CannotForkError(FloeError):
    """A machine that cannot be copied, however often it is tried. number: the errno for the guest."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


def of_copy(cards: Sequence[Card], uuid: str, bridge_of: Callable[[str], str]) -> tuple[Card, ...]:
    """The cards with wires and hardware addresses of their own. bridge_of: the bridge that a tap is a port of, or "".
    Raises CannotForkError."""
    own = [card if card.kind == "user" else replace(_wired(card, bridge_of), mac="") for card in cards]
    return network.with_macs(own, uuid)


def _wired(card: Card, bridge_of: Callable[[str], str]) -> Card:
    if card.kind == "listen":
        raise CannotForkError(errno.EOPNOTSUPP, f"--net listen:{card.name} is a wire between two")
    if card.kind == "tap":
        bridge = bridge_of(card.name)
        if not bridge:
            problem = f"the tap {card.name} is one VM's; of a tap on a bridge a child gets another one there"
            raise CannotForkError(errno.EOPNOTSUPP, problem)
        return replace(card, kind="bridge", name=bridge)
    return card


def spare(original: Sequence[Card], taken: Collection[str], number: int) -> list[Addresses]:
    """For each card of a copy an address where the original is told one: of those that this one has to spare, one that
    nobody has taken. number: of the copy, from 0; it gets what was free longest. Raises CannotForkError."""
    return [
        (
            _free(f"card {index}: ip", card.ip, card.spare, taken, number) if card.is_told else "",
            _free(f"card {index}: ip6", card.ip6, card.spare6, taken, number) if card.is_told_6 else "",
        )
        if card.kind != "user"
        else ("", "")
        for index, card in enumerate(original)
    ]


def _free(what: str, value: str, count: int, taken: Collection[str], number: int) -> str:
    found = network.spare_addresses(value, count)
    for at in range(count):
        if (address := found[(number + at) % count]) not in taken:
            return address
    if not count:
        raise CannotForkError(
            errno.EADDRNOTAVAIL, f"{what}={value}+N would have N addresses for children, this has none"
        )
    raise CannotForkError(errno.EADDRNOTAVAIL, f"all addresses of {what}={value}+{count} are in use")


def told(cards: Sequence[Card], own: Sequence[Addresses]) -> tuple[Card, ...]:
    """The cards with these addresses."""
    return tuple(
        replace(card, ip=ip or card.ip, ip6=ip6 or card.ip6, spare=0, spare6=0)
        for card, (ip, ip6) in zip(cards, own, strict=True)
    )


def addresses(cards: Sequence[Card]) -> list[str]:
    """Those that a VM is told on networks that others are in, too."""
    shared = [card for card in cards if card.kind != "user"]
    return [c.ip for c in shared if c.is_told] + [c.ip6 for c in shared if c.is_told_6]


def identity(cards: Sequence[Card]) -> dict[str, str]:
    """What a copy's guest is told of its cards (port/hal/copied.c). Of a card with a MAC address of its own it drops
    what is not told here: addresses that its original has set itself."""
    told = {}
    for index, card in enumerate(cards):
        if card.kind == "user":
            continue
        told[f"mac{index}"] = card.mac
        told |= {f"ip{index}": card.ip} if card.is_told else {}
        told |= {f"ip6{index}": card.ip6} if card.is_told_6 else {}
    return told
