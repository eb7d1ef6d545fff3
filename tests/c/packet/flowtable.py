# SPDX-License-Identifier: MIT
"""The other end of flow_user.c: a table of flows in a process of its own, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build

NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED = 1, 2, 4, 8, 16
FORWARD, REPLY = 0, 1
SECOND = 10**9
SEED = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
LIFES = ["opening", "established", "closing", "time_wait", "reset", "udp_one", "udp", "icmp", "other_one", "other"]
PHASES = ["syn_sent", "syn_received", "established", "half_closed", "closing", "time_wait", "reset"]
PARTS = ("parse", "sum", "tcp", "table", "tuple", "frag", "flow", "nat")
STATS = [
    "made", "expired", "deleted", "evicted", "refused", "clashes", "invalid", "ports_exhausted", "fragments_lost", "flows",
    "young", "longest",
]  # fmt: skip


@contextmanager
def flow_harness(tmp: pytest.TempPathFactory) -> Iterator[Harness]:
    """A process of the program, which the first to need it in a session builds."""
    out = tmp.getbasetemp() / "flows"
    program = out / "flow_user"
    if not program.exists():
        out.mkdir(exist_ok=True)
        sources = [str(ROOT / f"modules/packet/packet{part}.c") for part in PARTS]
        includes = [f"-I{ROOT / folder}" for folder in ("modules/packet", "modules/netdev")]
        build(out, "flow_user", *includes, *sources, folder="packet")
    with Harness(program) as harness:
        yield harness


@dataclass(frozen=True)
class Looked:
    """What a packet is. how: "p" leaves no trace, "f" follows a first fragment, else "-"; result: commit's."""

    state: int
    dir: int
    flow: int
    how: str
    result: int
    packet: bytes  # as it leaves


@dataclass(frozen=True)
class Flow:
    number: int
    proto: int
    life: str
    phase: str
    tuples: tuple[tuple[str, int, str, int], tuple[str, int, str, int]]
    packets: tuple[int, int]
    bytes: tuple[int, int]
    replied: bool
    nat: int
    expires_ns: int


class Table:
    """now: seconds, the time of what is done next."""

    def __init__(self, h: Harness, flows: int = 64) -> None:
        self.h = h
        self.now = 1000.0
        self.bytes = h.number("init", flows, *SEED)

    def _ns(self) -> int:
        return int(self.now * SECOND)

    def see(self, packet: bytes, *words: object, only_look: bool = False) -> Looked | None:
        """None: the parser does not take it. words: as flow_user.c reads them."""
        answer = self.h.do("pass", self._ns(), packet.hex(), *words, *(["look"] if only_look else []))
        if answer == "bad":
            return None
        state, direction, flow, how, result, after = answer.split()
        return Looked(int(state), int(direction), int(flow), how, int(result), bytes.fromhex(after))

    def state(self, packet: bytes) -> int:
        looked = self.see(packet)
        assert looked is not None
        return looked.state

    def age(self, work: int = 1 << 20) -> None:
        self.h.do("age", self._ns(), work)

    def stats(self) -> dict[str, int]:
        return dict(zip(STATS, self.h.numbers("stats"), strict=True))

    def flows(self, work: int = 1000) -> list[Flow]:
        found = []
        for line in self.h.do("list", work).splitlines():
            w = line.split()
            there, back = w[5:11], w[11:17]
            tuples = [
                (str(ip_address(bytes.fromhex(t[0]))), int(t[2]), str(ip_address(bytes.fromhex(t[1]))), int(t[3]))
                for t in (there, back)
            ]
            found.append(
                Flow(
                    int(w[0]), int(w[2]), LIFES[int(w[3])], PHASES[int(w[4])], (tuples[0], tuples[1]),
                    (int(there[4]), int(back[4])), (int(there[5]), int(back[5])), w[17] == "1", int(w[18]), int(w[20]),
                )
            )  # fmt: skip
        return found

    def only(self) -> Flow:
        (flow,) = self.flows()
        return flow
