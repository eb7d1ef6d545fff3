# SPDX-License-Identifier: MIT
"""A bridge in a network namespace of this process's, a VM on it that forks (guest_fork_cards.py), and the frames of each
tap: `unshare -rn python -m tests.target.peers.forking_bridge ELF ACCEL tap|bridge`. Fails by AssertionError."""

from __future__ import annotations

import ipaddress
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.support.command import FLOE
from tests.support.vms import until

WAIT_S = 60.0
OURS, FIRST, FIRST6, SPARE = "10.9.0.1", "10.9.0.2", "2001:db8::2", 2
ETH_P_ALL = 3
ARP, IP4, IP6 = 0x0806, 0x0800, 0x86DD
UNSPECIFIED = {"0.0.0.0", "::"}


def ip(*lines: str) -> None:
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True, timeout=WAIT_S)


class Frames(threading.Thread):
    """What guests send: of each tap the source addresses, of all layers, and those that were announced (RFC 5227)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.sources: dict[str, set[str]] = defaultdict(set)
        self.announced: set[str] = set()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.start()

    def run(self) -> None:
        while True:
            data, (device, kind, direction, *_) = self._socket.recvfrom(1 << 16)
            if direction != socket.PACKET_OUTGOING and re.fullmatch(r"floe\d+", device):
                self._look(self.sources[device], kind, data)

    def _look(self, found: set[str], kind: int, data: bytes) -> None:
        found.add(data[6:12].hex(":"))
        if kind == ARP:
            found.add(data[22:28].hex(":"))
            found.add(socket.inet_ntoa(data[28:32]))
            if data[28:32] == data[38:42]:
                self.announced.add(socket.inet_ntoa(data[28:32]))
        elif kind == IP4:
            found.add(socket.inet_ntoa(data[26:30]))
        elif kind == IP6:
            found.add(str(ipaddress.ip_address(data[22:38])))

    def of(self, address: str) -> set[str]:
        """What the guest with this address has sent from."""
        (found,) = [found for found in self.sources.values() if address in found]
        return found - UNSPECIFIED


class Client:
    """One connection to a VM."""

    def __init__(self, address: str) -> None:
        self._socket = socket.create_connection((address, 80), WAIT_S)
        self._lines = self._socket.makefile("rwb")

    def ask(self, word: str) -> str:
        self._lines.write(f"{word}\n".encode())
        self._lines.flush()
        return self._lines.readline().decode().strip()


def taps() -> list[str]:
    return [name for _, name in socket.if_nameindex() if re.fullmatch(r"floe\d+", name)]


@contextmanager
def floe(*words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*FLOE, "run", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def forked(client: Client) -> str:
    """The number of a new child, as soon as there is an address for it."""
    found: list[str] = []

    def tried() -> bool:
        found.append(client.ask("fork").removeprefix("forked "))
        return found[-1] != "-99"

    until(tried, "an address")
    return found[-1]


def line(stream: IO[str] | None, start: str) -> str:
    """The next line that begins so."""
    assert stream is not None
    while select.select([stream], [], [], WAIT_S)[0] and (text := stream.readline()):
        if text.startswith(start):
            return text
    raise AssertionError(f"no line {start}")


def scene(process: subprocess.Popen[str], frames: Frames) -> None:
    line(process.stdout, f"at 1 {FIRST} ")
    before, before6 = Client(FIRST), Client(FIRST6)
    assert before.ask("fork") == "forked 2"
    assert before6.ask("fork") == "forked 3"  # by the hypervisor that has waited, or by another one
    addresses = [FIRST, "10.9.0.3", "10.9.0.4"]
    clients = [Client(address) for address in addresses]  # all at a time
    assert [c.ask("who") for c in clients] == [f"pid {n} {a}" for n, a in enumerate(addresses, 1)]
    assert [Client(f"2001:db8::{n}").ask("who").split()[1] for n in (2, 3, 4)] == ["1", "2", "3"]
    assert before.ask("who") == before6.ask("who") == f"pid 1 {FIRST}"
    assert before.ask("fork") == "forked -99"
    refused = "floe: guest_fork_cards cannot fork: all addresses of card 0:"
    assert line(process.stderr, refused) == f"{refused} ip={FIRST}/24+{SPARE} are in use\n"

    until(lambda: set(addresses) <= frames.announced, "word of each address")
    own = [frames.of(address) for address in addresses]
    assert sum(map(len, own)) == len(set().union(*own)), own  # nobody uses another one's, of whatever layer
    assert [sum(len(text) == 17 for text in found) for found in own] == [1, 1, 1], own

    clients[1].ask("exit")  # its addresses are free
    number = forked(before)
    assert Client(addresses[1]).ask("who") == f"pid {number} {addresses[1]}"


def main() -> None:
    elf, accel, kind = sys.argv[1:]
    ip("link set lo up", "link add br0 type bridge", f"addr add {OURS}/24 dev br0", "link set br0 up")
    ip("addr add 2001:db8::1/64 dev br0 nodad", "tuntap add dev floe0 mode tap", "link set floe0 master br0 up")
    frames = Frames()
    card = f"{'tap:floe0' if kind == 'tap' else 'bridge:br0'},ip={FIRST}/24+{SPARE},ip6={FIRST6}/64+{SPARE}"
    with floe("--accel", accel, "--net", card, elf) as process:
        scene(process, frames)
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: taps() == ["floe0"], "the end of all taps but that which is ours")


if __name__ == "__main__":
    main()
