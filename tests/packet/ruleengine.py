# SPDX-License-Identifier: MIT
"""The engine's evaluator (modules/packet/packetrules.c) as a process under sanitizers, and what is told to it."""

from __future__ import annotations

import struct
import subprocess
import threading
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from tests.support.fixtures import REPO

DEADLINE_S = 60.0
FLAGS = [
    "-g",
    "-O1",
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
]
HOOKS = ("prerouting", "input", "forward", "postrouting")
KINDS = ("accept", "drop", "reject", "dnat", "snat", "masquerade")
REJECTS = ("port-unreachable", "host-unreachable", "net-unreachable", "admin-prohibited", "tcp-reset")
NO_CARD = 0xFF
_KEY = struct.Struct("<11B16s16sx4H6sxxI")


@dataclass(frozen=True)
class Packet:
    """packet_key_t, in its order."""

    family: int = 4
    proto: int = 6
    in_: int = 0
    out: int = 1
    fragment: int = 0
    ttl: int = 64
    dscp: int = 0
    flags: int = 2
    icmp_type: int = 0
    icmp_code: int = 0
    state: int = 1
    src: bytes = bytes(16)
    dst: bytes = bytes(16)
    sport: int = 1024
    dport: int = 80
    length: int = 60
    vlan: int = 0
    smac: bytes = bytes(6)
    mark: int = 0

    def pack(self) -> bytes:
        return _KEY.pack(*astuple(self))

    def but(self, **fields: Any) -> Packet:
        return replace(self, **fields)


@dataclass(frozen=True)
class Verdict:
    """What is decided. address and port: of dnat and snat; port 0: as it is."""

    kind: str
    mark: int = 0
    reject: str = ""
    address: str = ""
    port: int = 0


@dataclass(frozen=True)
class Record:
    time_ns: int
    hook: str
    text: str
    key: bytes


def build(folder: Path) -> Path:
    program = folder / "rules"
    own = REPO / "modules" / "packet"
    sources = [own / "packetprogram.c", own / "packetrules.c", REPO / "tests/c/packet/rules_user.c"]
    includes = [f"-I{own}", f"-I{REPO / 'modules/netdev'}"]
    subprocess.run(["gcc", *FLAGS, *includes, *map(str, sources), "-o", str(program)], check=True, timeout=120)
    return program


class Engine:
    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def _do(self, letter: str, data: bytes = b"") -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(letter.encode() + struct.pack("<I", len(data)) + data)
            self.process.stdin.flush()
        except BrokenPipeError:
            self._died()

    def _died(self) -> None:
        assert self.process.stderr is not None
        raise AssertionError(f"the engine died:\n{self.process.stderr.read().decode(errors='replace')}")

    def _read(self, size: int) -> bytes:
        assert self.process.stdout is not None
        watchdog = threading.Timer(DEADLINE_S, self.process.kill)
        watchdog.start()
        data = self.process.stdout.read(size)
        watchdog.cancel()
        if len(data) != size:
            self._died()
        return data

    def _number(self) -> int:
        return int.from_bytes(self._read(4), "little", signed=True)

    def load(self, program: bytes) -> bool:
        """Have a program take the place of the one before. False: it is refused, and that one stays."""
        self._do("L", program)
        return self._number() == 1

    def run(self, questions: list[tuple[str, Packet, int]]) -> list[Verdict]:
        """Verdicts about packets at hooks at times in ns."""
        self._do("R", b"".join(struct.pack("<QII", now, HOOKS.index(hook), 0) + p.pack() for hook, p, now in questions))
        raw = self._read(12 * len(questions))
        return [_verdict(raw[at : at + 12]) for at in range(0, len(raw), 12)]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes of each counter."""
        self._do("C")
        out = {}
        for _ in range(self._number()):
            name = self._read(self._number()).decode()
            out[name] = struct.unpack("<QQ", self._read(16))
        return out

    def log(self) -> tuple[list[Record], int]:
        """Records, which are gone then, and how many were lost so far."""
        self._do("G")
        lost = self._number()
        records = []
        for _ in range(self._number()):
            time_ns, key = struct.unpack("<Q64s", self._read(72))
            hook = HOOKS[self._number()]
            records.append(Record(time_ns, hook, self._read(self._number()).decode(), key))
        return records, lost

    def change(self, number: int, content: bytes, *, is_map: bool = False) -> int:
        """0 or -errno."""
        self._do("M" if is_map else "S", struct.pack("<I", number) + content)
        return self._number()

    def fuzz(self, seed: int, rounds: int) -> int:
        """Spoil the loaded program so many times; how many of these were taken, and run."""
        self._do("F", struct.pack("<II", seed, rounds))
        return self._number()


def _verdict(raw: bytes) -> Verdict:
    kind, reject, port, address, mark = struct.unpack("<BBH4sI", raw)
    word = KINDS[kind]
    return Verdict(
        word,
        mark,
        REJECTS[reject] if word == "reject" else "",
        ".".join(map(str, address)) if word in ("dnat", "snat") else "",
        port,
    )
