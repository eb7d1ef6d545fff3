# SPDX-License-Identifier: MIT
"""A flood of SYNs from addresses that are not their senders', and honest clients whose ACK comes 30 ms late."""

from __future__ import annotations

import heapq
import random
import re
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

import wire

from conftest import Boot, Guest
from floe.console import Matched

GUEST = Path(__file__).resolve().parent / "guest_flood.py"
RATE = 20_000  # SYNs a second
FLOOD_S = 6.0
CLIENTS = 100  # while it lasts
LATE_S = 0.03
CLIENT_DEADLINE_S = 4.0
OURS, ROUTER = "10.9.0.2", "10.9.0.1"
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SYN_OPTIONS = bytes.fromhex("020405b40402010101030307")  # MSS, SACK, window scale
BACKLOG = 32_768  # bytes that wait for the guest; a wire would lose more


def tcp(source: str, port: int, flags: int, seq: int, ack: int, payload: bytes = b"") -> bytes:
    """A frame to the guest's port 80, as QEMU's socket takes it."""
    options = SYN_OPTIONS if flags & SYN else b""
    size = 20 + len(options)
    seg = struct.pack(">HHIIBBHHH", port, 80, seq, ack, size // 4 << 4, flags, 64000, 0, 0) + options + payload
    pseudo = socket.inet_aton(source) + socket.inet_aton(OURS) + struct.pack(">HH", 6, len(seg))
    seg = seg[:16] + struct.pack(">H", wire.checksum(pseudo + seg)) + seg[18:]
    return wire.ip4(source, OURS, 6, seg)


class Client:
    """An honest client: SYN, a late ACK with a request, an answer. What is lost is sent again, as by Linux."""

    def __init__(self, number: int, start: float, word: bytes) -> None:
        self.ip, self.port = f"10.9.0.{100 + number % 100}", 10_000 + number
        self.start, self.word = start, word
        self.seq, self.ack = random.getrandbits(32) & 0x7FFFFFFF, 0
        self.answer = b""
        self.took: float | None = None
        self.end = ""  # how it ended otherwise

    @property
    def key(self) -> bytes:
        return socket.inet_aton(self.ip) + struct.pack(">H", self.port)

    def due(self, now: float) -> tuple[list[bytes], float]:
        """Packets to send, and seconds until it is due again."""
        if self.ack:
            data = tcp(self.ip, self.port, ACK | PSH, self.seq + 1, self.ack, self.word)
            return [tcp(self.ip, self.port, ACK, self.seq + 1, self.ack), data], 0.3
        return [tcp(self.ip, self.port, SYN, self.seq, 0)], 1.0

    def got(self, segment: bytes, now: float) -> list[bytes]:
        seq, ack, offset, flags = struct.unpack_from(">IIBB", segment, 4)
        if flags & RST:
            self.end = self.end or "reset"
        elif flags & SYN:
            self.ack = self.ack or seq + 1 & 0xFFFFFFFF
        elif len(segment) > offset >> 2 and not self.answer:
            self.answer = segment[offset >> 2 :]
            self.took = now - self.start
            return [tcp(self.ip, self.port, RST | ACK, ack, seq + len(self.answer))]
        return []


class Flood:
    """All clients and the flood on one card `listen:PATH`, in the test's own thread."""

    def __init__(self, path: Path, mac: bytes) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.setblocking(False)
        self._out, self._in = bytearray(), bytearray()
        self._clients: dict[bytes, Client] = {}
        self._events: list[tuple[float, int, Client]] = []
        self._mac, self._number = mac, 0
        spoofed = (f"{random.choice(('10.9.0', '198.51.100'))}.{random.randrange(3, 99)}" for _ in range(4000))
        frames = [self._frame(tcp(ip, random.randrange(1024, 65536), SYN, random.getrandbits(32), 0)) for ip in spoofed]
        self._batches = [b"".join(frames[i : i + 20]) for i in range(0, len(frames), 20)]
        self.flooded = self.lost = 0

    def _frame(self, packet: bytes, kind: int = wire.IP4) -> bytes:
        frame = (self._mac + wire.MAC + struct.pack(">H", kind) + packet).ljust(60, b"\0")
        return struct.pack(">I", len(frame)) + frame

    def serve(self, clients: int, seconds: float, word: bytes = b"GET", *, flood: bool) -> list[Client]:
        """So many clients in as many seconds. Returns them when all have ended."""
        start = time.monotonic()
        made = []
        for n in range(clients):
            self._number += 1
            client = Client(self._number, start + n * seconds / clients, word)
            made.append(client)
            self._clients[client.key] = client
            heapq.heappush(self._events, (client.start, self._number, client))
        sent = 0
        while True:
            now = time.monotonic()
            over = now > start + seconds
            if over and all(c.took is not None or c.end or now - c.start > CLIENT_DEADLINE_S for c in made):
                return made
            self._run_clients(now)
            while flood and not over and sent < (now - start) * RATE:
                batch = self._batches[sent // 20 % len(self._batches)]
                if len(self._out) < BACKLOG:
                    self._out += batch
                    self.flooded += 20
                else:
                    self.lost += 20
                sent += 20
            self._move(now)

    def _run_clients(self, now: float) -> None:
        while self._events and self._events[0][0] <= now:
            _, number, client = heapq.heappop(self._events)
            if client.took is None and not client.end:
                packets, wait = client.due(now)
                self._send(packets)
                heapq.heappush(self._events, (now + wait, number, client))

    def _send(self, packets: list[bytes]) -> None:
        for packet in packets:
            self._out += self._frame(packet)

    def _move(self, now: float) -> None:
        try:
            if self._out:
                del self._out[: self._socket.send(self._out[:65536])]
        except BlockingIOError:
            pass
        try:
            part = self._socket.recv(262_144)
            if not part:
                raise EOFError("the card is gone")
            self._in += part
        except BlockingIOError:
            time.sleep(0.001)
            return
        at = 0
        while len(self._in) - at >= 4:
            size = int.from_bytes(self._in[at : at + 4], "big")
            if len(self._in) - at - 4 < size:
                break
            self._received(self._in[at + 4 : at + 4 + size], now)
            at += 4 + size
        del self._in[:at]

    def _received(self, frame: bytearray, now: float) -> None:
        if frame[12:14] == b"\x08\x06":
            if frame[21] == 1 and (frame[41] == 1 or frame[41] >= 100):
                packet = bytes(frame[14:])
                reply = packet[:7] + b"\2" + wire.MAC + packet[24:28] + packet[8:18]
                self._out += self._frame(reply, wire.ARP)
            return
        client = self._clients.get(bytes(frame[30:34] + frame[36:38]))
        if client is not None and frame[12:14] == b"\x08\x00":
            known = client.ack
            end = 14 + int.from_bytes(frame[16:18], "big")
            self._send(client.got(bytes(frame[34:end]), now))
            if client.ack != known:  # its SYN-ACK: what follows is late
                heapq.heappush(self._events, (now + LATE_S, self._number + id(client), client))


def _memory(clients: list[Client]) -> list[int]:
    return [int(c.answer.split()[1]) for c in clients if c.answer]


def test_honest_clients_are_served_in_a_flood(boot: Boot, tmp_path: Path) -> None:
    path = tmp_path / "wire"
    vm: Guest = boot(GUEST, deadline_s=60, net=(f"listen:{path},ip={OURS}/24,gw={ROUTER},mac=52:54:00:00:0f:10",))
    assert vm.expect("listening") is Matched
    net = Flood(path, bytes.fromhex("525400000f10"))
    before = net.serve(10, 0.5, flood=False)
    during = net.serve(CLIENTS, FLOOD_S, flood=True)
    after = net.serve(10, 0.5, flood=False)
    with suppress(EOFError):  # the guest has ended
        net.serve(1, 0.1, b"end", flood=False)
    assert vm.wait() == 0
    assert re.search(r"^the end$", vm.console_text, re.MULTILINE)
    assert "PANIC" not in vm.console_text
    took = sorted(c.took for c in during if c.took is not None)
    ends = [c.end for c in during if c.end]
    story = f"{len(took)} of {CLIENTS} served, slowest {took[-3:]}, ended {ends}; {net.flooded} SYNs, {net.lost} lost"
    assert len(took) >= CLIENTS * 0.98, story
    assert (took + [9.0] * CLIENTS)[CLIENTS * 99 // 100 - 1] <= 1.2, story  # p99
    assert all(c.took is not None and c.took < 0.5 for c in before + after)
    assert max(_memory(during)) - max(_memory(before)) < 200_000, (_memory(before), _memory(during))
