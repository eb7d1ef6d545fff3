# SPDX-License-Identifier: MIT
"""What a VM may reach: --allow's words as data, its names looked up and kept, and the rules that the guard
(floe.egress) is given. It holds for QEMU's user network, where each of the guest's connections is one of QEMU's."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from floe.errors import FloeError, UsageError
from floe.spec.network import Card, UserNet
from floe.spec.ports import Forward

NONE = "none"
_FORM = "--allow HOST:PORT, --allow HOST:PORT/udp, --allow '[2001:db8::1]:443', or --allow none"
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Target:
    """One place: an address, or a name in lower case."""

    host: str
    port: int
    protocol: str = "tcp"

    @property
    def is_name(self) -> bool:
        """Whether it is to be looked up."""
        return _address(self.host) is None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + ("/udp" if self.protocol == "udp" else "")


@dataclass(frozen=True)
class Egress:
    """All that a VM may reach; without targets nothing. pins: the addresses of each name."""

    targets: tuple[Target, ...] = ()
    pins: tuple[tuple[str, tuple[str, ...]], ...] = ()


def parse_allow(values: Sequence[str]) -> Egress | None:
    """All --allow options together, its names still to be looked up; None without one. Raises UsageError."""
    if not values:
        return None
    if NONE in values:
        if len(set(values)) > 1:
            raise UsageError("--allow none does not go with another --allow", hint=_FORM)
        return Egress()
    return Egress(tuple(dict.fromkeys(parse_target(value) for value in values)))


def parse_target(text: str) -> Target:
    """One of them. Raises UsageError."""

    def wrong(problem: str) -> UsageError:
        return UsageError(f"--allow {text}: {problem}", hint=_FORM)

    if "://" in text:
        raise wrong("not a URL, but the host and the port that are connected to")
    place, slash, protocol = text.partition("/")
    if slash and protocol not in ("tcp", "udp"):
        raise wrong(f"/{protocol} is not a protocol: tcp or udp")
    host, colon, digits = place.rpartition(":")
    if not colon or not host:
        raise wrong("a port is missing")
    if not re.fullmatch("[0-9]{1,5}", digits) or not 1 <= int(digits) <= 65535:
        raise wrong(f"{digits!r} is not a port")
    if bracketed := re.fullmatch(r"\[(.*)\]", host):
        host = bracketed[1]
        if ":" not in host:
            raise wrong("brackets are for an IPv6 address")
    elif ":" in host:
        raise wrong("an IPv6 address stands in brackets")
    host = host.lower().removesuffix(".")
    address = _address(host)
    if address is not None:
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if address.is_unspecified or address.is_multicast or (address.version == 6 and address.is_link_local):
            raise wrong(f"{host} is not one machine's address")
        host = str(address)
    elif ":" in host or re.fullmatch(r"[0-9.]+", host) or not _NAME.fullmatch(host):
        raise wrong(f"{host} is neither an address nor a name")
    return Target(host, int(digits), protocol or "tcp")


def check_cards(egress: Egress | None, cards: Sequence[Card]) -> None:
    """Each frame of the guest's goes through the guard, or the VM does not start. Raises UsageError."""
    for card in cards if egress is not None else ():
        if card.kind != "user":
            raise UsageError(
                f"--allow: not with --net {card.kind}:{card.name}, whose frames leave without being looked at",
                hint="--net user, or a firewall on the host's side of that network",
            )


def pinned(egress: Egress | None) -> Egress | None:
    """With the addresses that its names have now. Raises FloeError."""
    if egress is None:
        return None
    names = dict.fromkeys(target.host for target in egress.targets if target.is_name)
    return replace(egress, pins=tuple((name, _look_up(name)) for name in names))


def rules(egress: Egress, cards: Sequence[Card], forwards: Sequence[Forward]) -> str:
    """What the guard is given, as JSON. The gateway of a user network is this host's loopback."""
    nets = [UserNet.of(card, index) for index, card in enumerate(cards)]
    gateways = [str(net.gateway) for net in nets]

    def place(address: str) -> str:
        return _LOOPBACK if address in gateways else address

    fixed = [(t.protocol, place(t.host), t.port) for t in egress.targets if not t.is_name]
    named = [(t.protocol, t.host, t.port) for t in egress.targets if t.is_name]
    replies = [f.through or f.host_port for f in forwards if f.protocol == "udp"]
    told = {"fixed": fixed, "named": named, "pins": dict(egress.pins), "replies": replies}
    return json.dumps(told | {"gateway": gateways[0] if gateways else _LOOPBACK})


def _look_up(name: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        why = getattr(e, "strerror", None) or str(e)
        raise FloeError(
            f"--allow {name}: this host cannot look the name up: {why}", hint="its address instead of the name"
        ) from None
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
