# SPDX-License-Identifier: MIT
"""Network cards: what --net means, and the guest's words for it. Forwarded ports: ports.py.

A card is `user` (QEMU's own network, no rights needed; under Xen the lab's network, or dom0's first bridge),
`tap:NAME` (a tap device of the host), `bridge:NAME` (a bridge of the host, under Xen of dom0), `listen:PATH` or
`connect:PATH` (two VMs, or a VM and a program, joined by a UNIX socket that carries each frame behind its length, 4
bytes big endian), or `none`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from floe.errors import UsageError

KINDS = ("user", "tap", "bridge", "listen", "connect")
MAX_CARDS = 8  # NETDEV_MAX in modules/netdev/netdev.h
MAX_NAME_SERVERS = 4  # DNS_MAX_SERVERS in modules/lwip/lwipopts.h
_HINT = (
    "--net user | none | tap:NAME | bridge:NAME | listen:PATH | connect:PATH, then\n"
    "[,ip=ADDR/BITS[+N]][,gw=ADDR][,dns=ADDR][,ip6=ADDR/BITS[+N]|auto|none][,mac=MAC]\n"
    "+N: as many addresses behind that one are for children of a VM that forks"
)
MAX_SPARE = 1024  # addresses of one card's for children
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class Card:
    """One network card. `ip` is the guest's setting: "ADDR/BITS", "dhcp", "none", or "" for the kind's default; `ip6`
    "ADDR/BITS", "auto", "none", or "", which is auto. spare, spare6: so many addresses behind that one are for copies
    of the VM."""

    kind: str = "user"
    name: str = ""
    ip: str = ""
    gateway: str = ""
    dns: str = ""
    mac: str = ""
    ip6: str = ""
    fd: int = -1  # of a tap that was made for it (hostnet/taps.py)
    spare: int = 0
    spare6: int = 0
    mtu: int = 0  # of what it joins, where the guest is to be told it

    @property
    def is_told(self) -> bool:
        """Whether the guest is told its IPv4 address."""
        return self.ip not in ("dhcp", "none") and (self.ip != "" or self.kind == "user")

    @property
    def is_told_6(self) -> bool:
        """Whether the guest is told an IPv6 address."""
        return self.ip6 not in ("", "auto", "none")


def parse_cards(values: Sequence[str]) -> tuple[Card, ...]:
    """The cards of all --net options together; one `user` card when there is none. Raises UsageError."""
    if not values:
        return (Card(),)
    if "none" in values:
        if len(values) > 1:
            raise UsageError("--net none does not go with another --net", hint=_HINT)
        return ()
    if len(values) > MAX_CARDS:
        raise UsageError(f"{len(values)} network cards; a guest has at most {MAX_CARDS}")
    return tuple(parse_card(value) for value in values)


def parse_card(text: str) -> Card:
    """One --net option that is not `none`. Raises UsageError."""
    what, *options = text.split(",")
    kind, colon, name = what.partition(":")
    if kind not in KINDS or bool(colon) != (kind != "user") or bool(colon) != bool(name):
        raise UsageError(f"--net {text}: no such kind of network card", hint=_HINT)
    values = {"ip": "", "gw": "", "dns": "", "mac": "", "ip6": ""}
    for option in options:
        key, _, value = option.partition("=")
        if key not in values or not value:
            raise UsageError(f"--net {text}: {option!r} is not an option of a network card", hint=_HINT)
        values[key] = value
    spare, spare6 = (_cut_spare(text, values, key) for key in ("ip", "ip6"))
    _check_values(text, values)
    card = Card(kind, name, values["ip"], values["gw"], values["dns"], values["mac"], values["ip6"], -1, spare, spare6)
    _check_spare(text, card)
    return card


def with_macs(cards: Sequence[Card], uuid: str) -> tuple[Card, ...]:
    """The cards with hardware addresses where frames reach other machines: locally administered ones, made from the
    VM's UUID and the card's number, and so the same at every start under a name."""

    def made(number: int) -> str:
        return "02:" + hashlib.sha256(f"floe mac {uuid} {number}".encode()).digest()[:5].hex(":")

    return tuple(
        replace(card, mac=made(i)) if card.kind != "user" and not card.mac else card for i, card in enumerate(cards)
    )


def _cut_spare(text: str, values: dict[str, str], key: str) -> int:
    """How many addresses more; the value then has the first alone."""
    values[key], plus, count = values[key].partition("+")
    if not plus:
        return 0
    if "/" not in values[key] or not re.fullmatch("[0-9]{1,4}", count) or not 1 <= int(count) <= MAX_SPARE:
        problem = f"+{count} is no number of addresses, from 1 to {MAX_SPARE}, behind an address"
        raise UsageError(f"--net {text}: {problem}", hint=_HINT)
    return int(count)


def _check_spare(text: str, card: Card) -> None:
    """They are in the same network, and nobody else's."""
    if card.kind == "user" and (card.spare or card.spare6):
        problem = "+N: on a user network a child has the same address, in a network of its own"
        raise UsageError(f"--net {text}: {problem}", hint=f"--net {text.replace(f'+{card.spare or card.spare6}', '')}")
    for value, count in ((card.ip, card.spare), (card.ip6, card.spare6)):
        if not count:
            continue
        own = ipaddress.ip_interface(value)
        last = int(own.ip) + count
        if last > int(own.network.broadcast_address) - (own.version == 4):
            problem = f"{own.network} has fewer than {count} addresses behind {own.ip}"
            raise UsageError(f"--net {text}: {problem}", hint=_HINT)
        if card.gateway and int(own.ip) <= int(ipaddress.ip_address(card.gateway)) <= last and own.version == 4:
            raise UsageError(f"--net {text}: the gateway is among the addresses for children", hint=_HINT)


def spare_addresses(value: str, count: int) -> list[str]:
    """The addresses behind ADDR/BITS, each with its prefix length."""
    first = ipaddress.ip_interface(value)
    return [f"{first.ip + number}/{first.network.prefixlen}" for number in range(1, count + 1)]


def _check_values(text: str, values: dict[str, str]) -> None:
    try:
        if values["ip"] not in ("", "dhcp", "none"):
            if "/" not in values["ip"]:
                raise ValueError(f"{values['ip']} lacks its prefix length, as in 192.168.1.2/24")
            ipaddress.IPv4Interface(values["ip"])
        elif values["gw"] or values["dns"]:
            raise ValueError("gw= and dns= go with ip=ADDR/BITS")
        if values["ip6"] not in ("", "auto", "none"):
            if "/" not in values["ip6"]:
                raise ValueError(f"{values['ip6']} lacks its prefix length, as in 2001:db8::2/64")
            ipaddress.IPv6Interface(values["ip6"])
        for key in ("gw", "dns"):
            if values[key]:
                ipaddress.IPv4Address(values[key])
    except ValueError as e:
        raise UsageError(f"--net {text}: {e}", hint=_HINT) from None
    if values["mac"] and not _MAC.fullmatch(values["mac"]):
        raise UsageError(f"--net {text}: {values['mac']} is not a unicast MAC address in lower case", hint=_HINT)


def guest_words(cards: Sequence[Card]) -> list[str]:
    """The `ip=` and `ip6=` words of the guest's command line, one per card in order.

    A user card gets the address that QEMU's network expects, so that no DHCP round trip is needed. Name servers are the
    guest's, not a card's: any word may tell of any."""
    words = []
    servers = _name_servers(cards)
    for index, card in enumerate(cards):
        if not card.is_told:
            words.append(f"ip={card.ip or 'dhcp'}")
            continue
        net = UserNet.of(card, index)
        gateway, dns = str(net.gateway) if card.kind == "user" else card.gateway, servers.pop(0) if servers else ""
        words.append(f"ip={net.guest}" + (f",gw={gateway}" if gateway else "") + (f",dns={dns}" if dns else ""))
    if any(card.ip6 for card in cards):
        words += [f"ip6={card.ip6 or 'auto'}" for card in cards]
    return words


def _name_servers(cards: Sequence[Card]) -> list[str]:
    """Of all cards that are told theirs, in the order in which the guest asks them: those that were named, then QEMU's,
    which are all the same."""
    told = [(index, card) for index, card in enumerate(cards) if card.is_told]
    named = [card.dns for _, card in told if card.dns]
    own = [str(UserNet.of(card, index).dns) for index, card in told if card.kind == "user" and not card.dns]
    return named + own[: max(0, MAX_NAME_SERVERS - len(named))]


def socket_paths(cards: Sequence[Card]) -> list[Path]:
    """Sockets that QEMU makes and does not remove."""
    return [Path(card.name) for card in cards if card.kind == "listen"]


@dataclass(frozen=True)
class UserNet:
    """The addresses of a QEMU user network: 10.0.2.0/24 for the first card, 10.0.3.0/24 for the second, ..."""

    guest: ipaddress.IPv4Interface
    gateway: ipaddress.IPv4Address
    dns: ipaddress.IPv4Address

    @classmethod
    def of(cls, card: Card, index: int) -> UserNet:
        own = card.ip if card.ip not in ("", "dhcp", "none") else f"10.0.{2 + index}.15/24"
        guest = ipaddress.IPv4Interface(own)
        base = guest.network.network_address
        return cls(guest, ipaddress.IPv4Address(card.gateway or base + 2), ipaddress.IPv4Address(card.dns or base + 3))
