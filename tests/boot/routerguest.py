# SPDX-License-Identifier: MIT
"""A running images/router between network namespaces, and what its clients do: DHCP by real clients or by hand."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from floe.testing import Boot, Guest
from tests.boot import packetpeer
from tests.boot.served import Served
from tests.support.command import floe
from tests.support.spaces import Space, spaces

DEADLINE_S = 180.0
START_S = 60.0
ALL = "ff:ff:ff:ff:ff:ff"
_NAMES = "abcd"
_XIDS = itertools.count(1000)


@dataclass
class Router(Served):
    """lans: namespaces at the cards, in order. Their taps are the VM's until join()."""

    vm: Guest
    lans: list[Space] = field(default_factory=list)
    crashed: bool = False

    def say(self, command: str, expect: str) -> str:
        """A command of the console, and what it prints up to this."""
        self.vm.send(command.encode() + b"\n")
        self.vm.expect(expect, timeout=20.0)
        return self.vm.before + self.vm.match[0]

    def crash(self) -> None:
        """End it without its knowing."""
        self.vm.kill()
        self.crashed = True


def mac_of(card: int) -> str:
    return f"02:00:00:00:0{card + 1}:01"


def disk_with(folder: Path, text: str) -> Path:
    """A disk with this router.toml."""
    image = folder / "router.img"
    (folder / "router.toml").write_text(text)
    assert floe("disk", "create", image, "--size", "4M").returncode == 0
    done = floe("disk", "cp", image, folder / "router.toml", ":/router.toml")
    assert done.returncode == 0, done.stderr
    return image


@contextlib.contextmanager
def routing(
    boot: Boot, disk: Path, cards: list[tuple[str, ...]], app: str | Path = "router", **options: Any
) -> Iterator[Router]:
    """A router with this disk. cards: of each its ip= and ip6= words; at each is a namespace. It ends in order."""
    with spaces(*_NAMES[: len(cards)]) as hosts:
        net = [
            ",".join((f"tap:{host.tap}", f"mac={mac_of(i)}", *words))
            for i, (host, words) in enumerate(zip(hosts, cards, strict=True))
        ]
        router = Router(boot(app, deadline_s=DEADLINE_S, net=net, memory="32M", disks=[str(disk)], **options), hosts)
        router.vm.expect(r"routing between \d+ cards", timeout=START_S)
        for host in hosts:
            host.join()
        try:
            yield router
        finally:
            for host in hosts:  # clients that a test has left in the background
                found = subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True, check=False)
                for pid in found.stdout.split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
        if not router.crashed:
            router.stop()


@dataclass
class Client:
    """A DHCP client by hand, with a hardware address of its own, that sends on a namespace's device."""

    space: Space
    mac: str
    client_id: bytes = b""
    name: str = ""

    def frame(
        self,
        kind: str,
        *options: tuple[str, object],
        ciaddr: str = "0.0.0.0",
        to: str = "255.255.255.255",
        **more: object,
    ) -> Packet:
        said: list[object] = [("message-type", kind), *options]
        if self.client_id:
            said.append(("client_id", self.client_id))
        if self.name:
            said.append(("hostname", self.name.encode()))
        bootp = BOOTP(chaddr=bytes.fromhex(self.mac.replace(":", "")), ciaddr=ciaddr, xid=next(_XIDS), **more)
        hardware = ALL if to == "255.255.255.255" else mac_of(0)
        source = ciaddr if ciaddr != "0.0.0.0" else "0.0.0.0"
        ip = IP(src=source, dst=to)
        return Ether(src=self.mac, dst=hardware) / ip / UDP(sport=68, dport=67) / bootp / DHCP(options=[*said, "end"])

    def ask(self, frame: Packet, timeout_s: float = 5.0) -> Packet | None:
        """Send it; the answer with its transaction id."""
        xid = frame[BOOTP].xid

        def wanted(found: Packet) -> bool:
            return BOOTP in found and found[BOOTP].op == 2 and found[BOOTP].xid == xid

        return self.space.call(packetpeer.exchange, self.space.tap, [frame], wanted, timeout_s)

    def discover(self, timeout_s: float = 5.0, **more: object) -> Packet | None:
        return self.ask(self.frame("discover", **more), timeout_s)

    def lease(self) -> str:
        """Discover and request; the address."""
        offer = self.discover()
        assert offer is not None and kind(offer) == "offer"
        address = offer[BOOTP].yiaddr
        ack = self.request(address, option(offer, "server_id"))
        assert ack is not None and kind(ack) == "ack" and ack[BOOTP].yiaddr == address
        return str(address)

    def request(self, address: str, server: object, timeout_s: float = 5.0) -> Packet | None:
        return self.ask(self.frame("request", ("requested_addr", address), ("server_id", server)), timeout_s)


_KINDS = {2: "offer", 5: "ack", 6: "nak"}


def option(packet: Packet, name: str) -> object:
    """The value of an option, a tuple where there are several; None."""
    for each in packet[DHCP].options:
        if isinstance(each, tuple) and each[0] == name:
            return each[1] if len(each) == 2 else each[1:]
    return None


def kind(packet: Packet | None) -> str:
    return "nothing" if packet is None else _KINDS[int(str(option(packet, "message-type")))]
