# SPDX-License-Identifier: MIT
"""Forwarded ports: what -p means, whether the port is free, and who has it if not. Prints nothing."""

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

from floe.errors import FloeError, UsageError

_HINT = "-p [ADDR:]HOST:GUEST[/udp], for example -p 8080:80 or -p 8000-8010:8000-8010"
_MAX_RANGE = 256
_FORWARD = re.compile(
    r"(?:(?P<address>[^:/]+|\[[^\]]*\]):)?(?P<host>[0-9]{1,5}(?:-[0-9]{1,5})?):"
    r"(?P<guest>[0-9]{1,5}(?:-[0-9]{1,5})?)(?:/(?P<protocol>tcp|udp))?"
)
_LISTENING = {"tcp": "0A", "udp": "07"}  # column st of /proc/net/{tcp,udp}: TCP_LISTEN, TCP_CLOSE


@dataclass(frozen=True)
class Forward:
    """A port of the host that reaches a port of the guest's first user card; under Xen, of its first card."""

    address: str
    host_port: int
    guest_port: int
    protocol: str = "tcp"

    def option(self, host_port: int | None = None) -> str:
        """The -p option that asks for it, or for the same with another port of the host."""
        address = "" if self.address == "127.0.0.1" else f"{self.address}:"
        return f"-p {address}{host_port or self.host_port}:{self.guest_port}" + (
            "/udp" if self.protocol == "udp" else ""
        )


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
    address = {None: "127.0.0.1", "localhost": "127.0.0.1"}.get(match["address"], match["address"])
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        raise UsageError(f"-p {text}: {address} is not an IPv4 address", hint=_HINT) from None
    hosts, guests = (_range(match[key]) for key in ("host", "guest"))
    if len(hosts) != len(guests) or not 0 < len(hosts) <= _MAX_RANGE:
        raise UsageError(f"-p {text}: two ranges of the same length, at most {_MAX_RANGE} ports", hint=_HINT)
    if hosts[-1] > 65535 or not 0 < guests[0] <= guests[-1] <= 65535 or (len(hosts) > 1 and not hosts[0]):
        raise UsageError(f"-p {text}: a port is a number from 1 to 65535; 0 on the host means any free one", hint=_HINT)
    protocol = match["protocol"] or "tcp"
    return tuple(Forward(address, host, guest, protocol) for host, guest in zip(hosts, guests, strict=True))


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def claim(forwards: Sequence[Forward]) -> tuple[Forward, ...]:
    """The forwards with every host port known to be free now, and 0 replaced by a free one.

    Raises FloeError naming the port, who has it, and a port that is free."""
    claimed: list[Forward] = []
    for forward in forwards:
        if not forward.host_port:
            forward = replace(forward, host_port=free_port(forward))
        if any((f.host_port, f.protocol) == (forward.host_port, forward.protocol) for f in claimed):
            raise UsageError(f"{forward.option()}: host port {forward.host_port} is given twice")
        _check_free(forward)
        claimed.append(forward)
    return tuple(claimed)


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
    """Bind as QEMU will, and let go again. Returns the port. Raises OSError."""
    kind = socket.SOCK_DGRAM if forward.protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as s:
        if kind == socket.SOCK_STREAM:  # a port in TIME_WAIT is free; a UDP socket would share with the holder
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((forward.address, forward.host_port))
        if kind == socket.SOCK_STREAM:
            s.listen(1)
        port = s.getsockname()[1]
    assert isinstance(port, int)
    return port


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
