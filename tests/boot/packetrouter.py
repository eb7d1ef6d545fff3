# SPDX-License-Identifier: MIT
"""A VM with two cards as a router, between hosts that are network namespaces; the guest says `forwarding`, answers lines
of its standard input as `WORD ... end`, and ends at `stop`."""

from __future__ import annotations

import ast
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from floe.testing import Boot, Guest
from tests.boot import packetpeer
from tests.support.spaces import Space, spaces

DEADLINE_S = 180
WAIT_S = 20.0
MACS = ("02:00:00:00:01:01", "02:00:00:00:02:01")


@dataclass
class Router:
    """left - VM - right; behind right is 10.3.0.1, 2001:db8:3::1."""

    vm: Guest
    left: Space
    right: Space

    def ask(self, what: str) -> Any:
        """What the guest says of its counters or routes."""
        self.vm.send(what.encode() + b"\n")
        self.vm.expect(rf"{what} (.*) end", timeout=WAIT_S)
        return ast.literal_eval(self.vm.match[1])

    def from_left(self, *packets: Packet, expect: type[Packet], timeout_s: float = WAIT_S) -> Packet | None:
        """Send from the left host to the VM; what comes back there of this layer."""

        def work() -> Packet | None:
            own = packetpeer.hardware(self.left.tap)
            frames = [Ether(dst=MACS[0], src=own) / packet for packet in packets]
            return packetpeer.exchange(self.left.tap, frames, lambda f: expect in f, timeout_s)

        return self.left.call(work)


@contextlib.contextmanager
def routing(boot: Boot, guest: Path, *, behind: bool, args: Sequence[str] = ()) -> Iterator[Router]:
    """The VM between its hosts; behind: the right host knows the way to the left one, and has more addresses."""
    with spaces("l", "r") as (left, right):
        net = [
            f"tap:{left.tap},mac={MACS[0]},ip=10.1.0.1/24,ip6=2001:db8:1::1/64",
            f"tap:{right.tap},mac={MACS[1]},ip=10.2.0.1/24,ip6=2001:db8:2::1/64",
        ]
        vm = boot(guest, deadline_s=DEADLINE_S, net=net, memory="64M", args=args)
        vm.expect_exact("forwarding")
        left.join("10.1.0.2/24", "2001:db8:1::2/64", gateways=("10.1.0.1", "2001:db8:1::1"))
        ways = ("10.2.0.1", "2001:db8:2::1") if behind else ("2001:db8:2::1",)
        right.join("10.2.0.2/24", "2001:db8:2::2/64", gateways=ways)
        until_there(left, "10.1.0.1")
        yield Router(vm, left, right)
        vm.send(b"stop\n")
        assert vm.wait() == 0
        assert "Traceback" not in vm.console_text and "PANIC" not in vm.console_text


def until_there(space: Space, address: str) -> None:
    end = time.monotonic() + WAIT_S
    while not space.call(packetpeer.ping, address, 56, 1.0):
        assert time.monotonic() < end, f"{address} does not answer"
