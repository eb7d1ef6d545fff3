# SPDX-License-Identifier: MIT
"""Forwarded ports: what -p means, whether the port is free, and who has it if not."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import pwd
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from floe.errors import FloeError, UsageError

_HINT = "-p [ADDR:]HOST:GUEST[/udp|/spread], for example -p 8080:80, -p 8000-8010:8000-8010 or -p [::1]:8080:80"
_MAX_RANGE = 256
_DRAWS = 64  # of a port that is free for TCP and UDP
_FORWARD = re.compile(
    r"(?:(?P<address>[^:/]+|\[[^\]]*\]):)?(?P<host>[0-9]{1,5}(?:-[0-9]{1,5})?):"
    r"(?P<guest>[0-9]{1,5}(?:-[0-9]{1,5})?)(?:/(?P<kind>tcp|udp|spread))?"
)
_IP6_ADDRESSES = Path("/proc/net/if_inet6")
_IP_PKTINFO = 8  # ip(7); Python names it from 3.14 on
_LISTENING = {"tcp": "0A", "udp": "07"}  # column st of /proc/net/{tcp,udp}: TCP_LISTEN, TCP_CLOSE


@dataclass(frozen=True)
class Forward:
    """A port of the host that reaches a port of the guest's first user card; under Xen, of its first card."""

    address: str
    host_port: int
    guest_port: int
    protocol: str = "tcp"
    through: int = 0  # where QEMU cannot: the port of 127.0.0.1 that it forwards, and relay.py carries to
    spread: bool = False  # of a VM that forks: each connection goes to one of its family (balance.py)

    @property
    def is_ip6(self) -> bool:
        """Whether the address is one of IPv6."""
        return ":" in self.address

    def place(self) -> str:
        """Address and port of this machine."""
        return f"{_bracketed(self.address)}:{self.host_port}"

    def told(self) -> dict[str, Any]:
        """For JSON; forward_of() reads it."""
        return {
            "address": self.address,
            "host": self.host_port,
            "guest": self.guest_port,
            "protocol": self.protocol,
            "through": self.through,
            "spread": self.spread,
        }

    def guest_place(self) -> str:
        """The guest's part of -p: 80, 53/udp, 80/spread."""
        return f"{self.guest_port}{'/udp' if self.protocol == 'udp' else '/spread' if self.spread else ''}"

    def option(self, host_port: int | None = None) -> str:
        """The -p option that asks for it, or for the same with another port of the host."""
        address = "" if self.address == "127.0.0.1" else f"{_bracketed(self.address)}:"
        return f"-p {address}{host_port or self.host_port}:{self.guest_place()}"


def forward_of(told: dict[str, Any]) -> Forward:
    """What Forward.told() tells; an older floe's knows less."""
    return Forward(
        told["address"],
        told["host"],
        told["guest"],
        told["protocol"],
        told.get("through", 0),
        told.get("spread", False),
    )


class HostPorts(dict[int, int]):
    """Port of the host for each forwarded port of the guest: [53] is TCP's, or UDP's where TCP has none; ["53/tcp"] and
    ["53/udp"] tell them apart."""

    def __init__(self, forwards: Sequence[Forward]) -> None:
        by_protocol = sorted(forwards, key=lambda forward: forward.protocol != "udp")  # what comes last counts
        super().__init__({forward.guest_port: forward.host_port for forward in by_protocol})
        self._named = {f"{forward.guest_port}/{forward.protocol}": forward.host_port for forward in forwards}

    def __getitem__(self, key: int | str) -> int:
        return self._named[key] if isinstance(key, str) else super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        return key in self._named if isinstance(key, str) else super().__contains__(key)

    def get(self, key: int | str, default: Any = None) -> Any:
        """As [key]; the default where there is none."""
        return self._named.get(key, default) if isinstance(key, str) else super().get(key, default)


def parse_forward(text: str) -> Forward:
    """As parse_forwards() for a single port."""
    first, *more = parse_forwards(text)
    if more:
        raise UsageError(f"-p {text}: a single port is wanted", hint=_HINT)
    return first


def parse_forwards(text: str) -> tuple[Forward, ...]:
    """-p's value: one port, or as many as its ranges have. Without an address they are open to this machine only
    (127.0.0.1). Raises UsageError."""
    match = _FORWARD.fullmatch(text)
    if match is None:
        raise UsageError(f"-p {text}: not a port forward", hint=_HINT)
    address = _address(text, match["address"])
    hosts, guests = (_range(match[key]) for key in ("host", "guest"))
    if len(hosts) != len(guests) or not 0 < len(hosts) <= _MAX_RANGE:
        raise UsageError(f"-p {text}: two ranges of the same length, at most {_MAX_RANGE} ports", hint=_HINT)
    if hosts[-1] > 65535 or not 0 < guests[0] <= guests[-1] <= 65535 or (len(hosts) > 1 and not hosts[0]):
        raise UsageError(f"-p {text}: a port is a number from 1 to 65535; 0 on the host means any free one", hint=_HINT)
    protocol, spread = "udp" if match["kind"] == "udp" else "tcp", match["kind"] == "spread"
    return tuple(
        Forward(address, host, guest, protocol, spread=spread) for host, guest in zip(hosts, guests, strict=True)
    )


def _address(text: str, address: str | None) -> str:
    """The address of -p's value, as short as can be."""
    if address in (None, "localhost"):
        return "127.0.0.1"
    assert address is not None
    try:
        if not address.startswith("["):
            return str(ipaddress.IPv4Address(address))
        ip6 = ipaddress.IPv6Address(address[1:-1])
    except ValueError:
        kind = "IPv6" if address.startswith("[") else "IPv4"
        raise UsageError(f"-p {text}: {address} is not an {kind} address", hint=_HINT) from None
    if ip6.is_link_local and not ip6.scope_id:
        raise UsageError(
            f"-p {text}: {address} is an address of one link, and lacks its network card",
            hint=f"-p {text.replace(']', '%CARD]')}, with a CARD of: ip -brief link",
        )
    return str(ip6.ipv4_mapped or ip6)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def claim(forwards: Sequence[Forward], *, through: bool = False) -> tuple[Forward, ...]:
    """The forwards with every host port known to be free now, and 0 replaced by a free one: for TCP and UDP of one port
    of the guest by the same. through: what QEMU cannot forward itself gets a port that it can.

    Raises FloeError naming the port, who has it, and a port that is free."""
    claimed: list[Forward] = []
    drawn: dict[Forward, int] = {}  # for both protocols, by what was asked for
    for forward in forwards:
        if not forward.host_port:
            other = replace(forward, protocol="udp" if forward.protocol == "tcp" else "tcp")
            if forward in drawn:
                port = drawn.pop(forward)
            elif other in forwards:
                port = drawn[other] = _unclaimed_by_both(forward, other, claimed)
            else:
                port = _unclaimed(forward, claimed)
            forward = replace(forward, host_port=port)
        if any(_overlap(forward, other) for other in claimed):
            raise UsageError(f"{forward.option()}: host port {forward.host_port} is given twice")
        _check_free(forward)
        claimed.append(forward)
    return tuple(_through(claimed)) if through else tuple(claimed)


def _through(forwards: list[Forward]) -> list[Forward]:
    """QEMU's user network has no forwards of IPv6, answers by the first of several to one UDP port of the guest, and
    knows of one guest alone: those go through a port that it does forward."""
    inner: dict[tuple[int, str], Forward] = {}
    made = []
    for forward in forwards:
        key = (forward.guest_port, forward.protocol)
        shared = forward.protocol == "udp" and sum((f.guest_port, f.protocol) == key for f in forwards) > 1
        if forward.is_ip6 or shared or forward.spread:
            if key not in inner:
                own = Forward("127.0.0.1", 0, *key)
                inner[key] = replace(own, host_port=_unclaimed(own, [*forwards, *inner.values()]))
            forward = replace(forward, through=inner[key].host_port)
        made.append(forward)
    return made


def _overlap(one: Forward, other: Forward) -> bool:
    """Whether both would listen at one place. The two families never share one: open_socket()."""
    if (one.host_port, one.protocol, one.is_ip6) != (other.host_port, other.protocol, other.is_ip6):
        return False
    return one.address == other.address or {"0.0.0.0", "::"} & {one.address, other.address} != set()


def _unclaimed(forward: Forward, claimed: Sequence[Forward]) -> int:
    """A free port that none of the claimed has: a port is let go before it is used, and drawn again sometimes."""
    _check_free(forward)  # says what is wrong with its address
    taken = {other.host_port for other in claimed}
    return next(port for port in iter(lambda: free_port(forward), None) if port not in taken)


def _unclaimed_by_both(forward: Forward, other: Forward, claimed: Sequence[Forward]) -> int:
    """As _unclaimed(), for two protocols; where none is free for both, as good as never, one for the first."""
    _check_free(other)
    for _ in range(_DRAWS):
        port = _unclaimed(forward, claimed)
        with contextlib.suppress(OSError):
            return _bind(replace(other, host_port=port))
    return port


def free_port(forward: Forward) -> int:
    """A host port that is free: the next above the one asked for, else any."""
    near = forward.host_port
    for port in range(near + 1, min(near + 65, 65536)) if near else ():
        try:
            _bind(replace(forward, host_port=port))
            return port
        except OSError:
            continue
    return _bind(replace(forward, host_port=0))


def _bind(forward: Forward) -> int:
    """Open it as QEMU or the relay will, and let go again. Returns the port. Raises OSError."""
    with open_socket(forward, backlog=1) as s:
        port = s.getsockname()[1]
    assert isinstance(port, int)
    return port


def open_socket(forward: Forward, *, backlog: int) -> socket.socket:
    """A socket at the forward's place, listening where it is TCP's; of IPv6 it is IPv6's alone. A datagram brings the
    address that it was sent to as a control message. Raises OSError."""
    kind = socket.SOCK_DGRAM if forward.protocol == "udp" else socket.SOCK_STREAM
    family = socket.AF_INET6 if forward.is_ip6 else socket.AF_INET
    # By getaddrinfo(), which knows the %CARD of an address of one link.
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    [(*_, place)] = socket.getaddrinfo(forward.address, forward.host_port, family, kind, 0, flags)
    s = socket.socket(family, kind)
    try:
        if forward.is_ip6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:  # a port in TIME_WAIT is free; a UDP socket would share with the holder
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif forward.is_ip6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            s.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        s.bind(place)
        if kind == socket.SOCK_STREAM:
            s.listen(backlog)
    except BaseException:
        s.close()
        raise
    return s


def _check_free(forward: Forward) -> None:
    port = f"{forward.host_port}/udp" if forward.protocol == "udp" else str(forward.host_port)
    try:
        _bind(forward)
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            holder = find_holder(forward)
            raise FloeError(
                f"port {port} is in use",
                evidence=f"by: {holder}" if holder else "",
                hint=forward.option(free_port(forward)),
            ) from None
        if e.errno == errno.EACCES:
            raise FloeError(
                f"port {port} may be opened by root only", hint=forward.option(8000 + forward.host_port)
            ) from None
        if forward.is_ip6 and not _lines(_IP6_ADDRESSES):
            local = ipaddress.IPv6Address(forward.address).is_loopback
            instead = replace(forward, address="127.0.0.1" if local else "0.0.0.0")
            raise FloeError(f"{forward.option()}: this machine has no IPv6", hint=instead.option()) from None
        raise FloeError(f"{forward.option()}: {forward.address}: {e.strerror}", hint="ip -brief address") from None


def find_holder(forward: Forward, proc: Path = Path("/proc")) -> str:
    """Who listens on the host's port: "NAME (pid N)", or the user where the process may not be seen, or ""."""
    for table in (forward.protocol, forward.protocol + "6"):
        for line in _lines(proc / "net" / table)[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            if port == forward.host_port and fields[3] == _LISTENING[forward.protocol]:
                return _process(proc, inode=fields[9]) or f"a process of user {_user(int(fields[7]))}"
    return ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _process(proc: Path, *, inode: str) -> str:
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        if f"socket:[{inode}]" in _links(folder / "fd"):
            return f"{' '.join(_lines(folder / 'comm')) or '?'} (pid {folder.name})"
    return ""


def _links(folder: Path) -> Iterator[str]:
    """Targets of the links in a folder; of those that are gone or another user's, none."""
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            with contextlib.suppress(OSError):
                yield os.readlink(link)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
