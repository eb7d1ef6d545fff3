# SPDX-License-Identifier: MIT
"""Counts the instructions that a guest executes, in plain emulation: from kernel entry to the first Python line, and for
a request. The same image gives the same figures on every machine: the guest's clock counts instructions, what QEMU draws
is fixed, the image lies where it was linked, and one frame at a time comes from a peer of this process, which sends the
next one when the guest has come to rest."""

from __future__ import annotations

import bisect
import json
import re
import shlex
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet, Raw

from floe.errors import VmError
from floe.image import names
from floe.qemu import commandline
from floe.spec.network import Card
from floe.spec.vmspec import VmSpec, parse_memory
from floe.stream.stamps import SWITCH
from floe.stream.streams import Closed
from floe.vm.vm import Vm
from tests.support.wires import Station

_GUEST, _PEER, _MAC = "10.0.0.1", "10.0.0.2", "02:00:00:00:00:02"
# 64 ns an instruction: the guest's measuring of its clock, 1 ms of waiting, is over before the image has started.
_SHIFT = 6
_COUNTING = f"-seed 1 -icount shift={_SHIFT}"
_RECORD = "rr=record,rrfile=/dev/null"  # only a QEMU that records says its count
_BLOCK = re.compile(r"^Trace \d+: \S+ \[\w+/(\w+)/", re.MULTILINE)
_ROUNDS = 20
_STEP_S = 60.0
_END_S = 10.0


class QemuFailedError(VmError):
    """A QEMU that records has failed, not the guest."""


class Counted:
    """A guest whose instructions are counted, and the one host beside it."""

    def __init__(self, vm: Vm) -> None:
        self.vm = vm
        self.station: Station | None = None
        self._commands = vm._hypervisor._copying.commands  # type: ignore[attr-defined]  # QEMU's, here

    def first_line(self) -> int:
        """From kernel entry to the first Python line, to 16 instructions."""
        self.until(lambda: "floe: stamps" in self.vm.console_text)
        found = re.search(r"floe: stamps (\{.*\})", self.vm.console_text)
        assert found is not None
        return int(json.loads(found[1])["python"]) * 1000 >> _SHIFT

    def says(self, text: str) -> None:
        """Wait for it, and for the guest to come to rest."""
        self.until(lambda: text in self.vm.console_text)
        self.until(self._halted)

    def udp(self, port: int, data: bytes, answered: Callable[[bytes], bool]) -> int:
        """Instructions of a datagram and its answer."""
        question = IP(src=_PEER, dst=_GUEST) / UDP(sport=40000, dport=port) / Raw(data)

        def wanted(came: Packet) -> bool:
            return UDP in came and came[UDP].sport == port and answered(bytes(came[UDP].payload))

        return self._count_often(lambda: self._exchange(question, wanted))

    def tcp(self, port: int, data: bytes, answered: Callable[[bytes], bool], *, hello: bytes = b"") -> int:
        """Instructions of a request on an open connection, with its answer and the acknowledgement of that.
        hello: what the connection begins with, answered, too."""
        link = _Link(self._exchange, port)
        if hello:
            link.ask(hello, lambda said: len(said) > 0)
        return self._count_often(lambda: link.ask(data, answered))

    def _count_often(self, act: Callable[[], object]) -> int:
        counts = []
        for _ in range(_ROUNDS):
            before = self._count()
            act()
            counts.append(self._count() - before)
        return usual(counts)

    def _exchange(self, packet: Packet, wanted: Callable[[Packet], bool] | None) -> None:
        """Send it, and wait for what is wanted, None for no answer, and until the guest is at rest."""
        assert self.station is not None
        self.station.forget()
        came, before = self.station.came, self._count()
        self.station.send(packet, via=_GUEST)
        if wanted is None:
            self.until(lambda: self._count() > before)
        else:
            self.until(lambda: any(wanted(each) for each in list(came)))
        self.until(self._halted)

    def _count(self) -> int:
        said = self._ask("query-replay")
        assert isinstance(said, dict)
        return int(said["icount"])

    def _halted(self) -> bool:
        return "HLT=1" in str(self._ask("human-monitor-command", {"command-line": "info registers"}))

    def _ask(self, name: str, arguments: Mapping[str, object] | None = None) -> object:
        try:
            return self.vm.loop.run_until_complete(self._commands.ask(name, arguments))
        except VmError:
            if self.vm.pump(lambda: False, _END_S) is Closed:
                raise self._end() from None
            raise

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + _STEP_S
        while not true():
            if time.monotonic() > end:
                raise VmError("the guest does not get there", evidence=self.vm.console_text[-2000:])
            if self.vm.pump(lambda: False, 0.002) is Closed:
                raise self._end()

    def _end(self) -> VmError:
        try:
            code = self.vm.wait()
        except VmError as e:
            return QemuFailedError(e.message, evidence=e.evidence)
        return VmError(f"the guest ended with {code}", evidence=self.vm.console_text[-2000:])


def usual(counts: list[int]) -> int:
    """The least of those that most others are within 1 % of: timers make some larger, and the host's other work lets
    the guest do two things in one go, or in two."""
    return max(sorted(counts), key=lambda low: sum(low <= count <= low * 1.01 for count in counts))


class _Link:
    """A TCP connection of one segment at a time, each way."""

    def __init__(self, exchange: Callable[[Packet, Callable[[Packet], bool] | None], None], port: int) -> None:
        self._exchange = exchange
        self._head = IP(src=_PEER, dst=_GUEST) / TCP(sport=40000, dport=port, window=65535)
        self._seq = self._ack = 0

        def agrees(came: Packet) -> bool:
            if TCP not in came or "S" not in came[TCP].flags:
                return False
            self._ack = came[TCP].seq + 1
            return True

        exchange(self._segment("S", b""), agrees)
        self._seq = 1
        exchange(self._segment("A", b""), None)

    def ask(self, data: bytes, answered: Callable[[bytes], bool]) -> None:
        """Send it; acknowledge the answer once it is whole."""
        parts: dict[int, bytes] = {}

        def whole(came: Packet) -> bool:
            if TCP in came and came[TCP].seq >= self._ack:
                parts[came[TCP].seq] = _payload(came)
            return answered(b"".join(parts[seq] for seq in sorted(parts)))

        self._exchange(self._segment("PA", data), whole)
        self._seq += len(data)
        self._ack += sum(map(len, parts.values()))
        self._exchange(self._segment("A", b""), None)

    def _segment(self, flags: str, data: bytes) -> Packet:
        segment = self._head.copy()
        segment[TCP].flags, segment[TCP].seq, segment[TCP].ack = flags, self._seq, self._ack
        return segment / Raw(data) if data else segment


def _payload(came: Packet) -> bytes:
    """Without what an Ethernet frame is filled up with."""
    return bytes(came[TCP].payload)[: came[IP].len - came[IP].ihl * 4 - came[TCP].dataofs * 4]


def _spec(elf: Path, cards: tuple[Card, ...]) -> VmSpec:
    return VmSpec(elf=elf, memory=parse_memory("32M"), accel="tcg", cards=cards, switches=(SWITCH, "floe.aslr=0"))


@contextmanager
def counted(elf: Path, *, network: bool) -> Iterator[Counted]:
    """A guest that has started, under a QEMU that counts."""
    with tempfile.TemporaryDirectory(prefix="floe-count-") as folder, pytest.MonkeyPatch.context() as patch:
        qemu = Path(folder) / "counting-qemu"
        qemu.write_text(f'#!/bin/sh\nexec {shlex.quote(commandline.find_qemu())} "$@" {_COUNTING},{_RECORD}\n')
        qemu.chmod(0o755)
        patch.setenv(commandline.CHOICE, str(qemu))
        wire = Path(folder) / "wire"
        cards = (Card("listen", str(wire), ip=f"{_GUEST}/24", ip6="none", mac="02:00:00:00:00:01"),) if network else ()
        with Vm(_spec(elf, cards)) as vm:
            guest = Counted(vm)
            if not network:
                yield guest
                return
            guest.first_line()  # QEMU listens by then
            with Station(wire, _PEER, _MAC) as guest.station:
                yield guest


def blocks(elf: Path) -> list[str]:
    """From kernel entry to the first Python line: the functions by their share of the blocks that QEMU executed."""
    with elf.open("rb") as file:
        symbols = sorted((s.value, s.name) for s in names.read(ELFFile(file)) if s.kind in ("STT_FUNC", "STT_NOTYPE"))
    starts = [value for value, _ in symbols]
    with tempfile.TemporaryDirectory(prefix="floe-count-") as folder:
        log = Path(folder) / "log"
        argv = commandline.command_line(_spec(elf, (Card(),)), commandline.Endpoints.for_paste())
        argv += [*_COUNTING.split(), "-d", "exec,nochain", "-D", str(log)]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as qemu:
            assert qemu.stdout is not None
            late = threading.Timer(_STEP_S, qemu.kill)
            late.start()
            try:
                while (line := qemu.stdout.readline()) and b"floe: stamps" not in line:
                    pass
            finally:
                late.cancel()
                qemu.kill()
        if b"floe: stamps" not in line:
            raise VmError("the guest does not get to its first line", evidence=str(elf))
        found: Counter[str] = Counter()
        for match in _BLOCK.finditer(log.read_text(errors="replace")):
            at = bisect.bisect_right(starts, int(match[1], 16)) - 1
            found[symbols[at][1] if at >= 0 else "before the image"] += 1
    return [f"{100 * count / found.total():5.1f} %  {name}" for name, count in found.most_common()]
