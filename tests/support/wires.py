# SPDX-License-Identifier: MIT
"""A host on a network of a stack: frames of scapy's by the network's UNIX socket, without any rights; or a network
namespace's tap on it, for programs that need a kernel's TCP (as root)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from tests.support.spaces import Space

_LENGTH = 4
_STEP_S = 10.0
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 2, 0x1000


class Wire:
    """One connection to a switch: whole frames in, whole frames out."""

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(_STEP_S)
        self._sock.connect(str(path))
        self._sock.settimeout(None)
        self._got = b""

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, frame: bytes) -> None:
        self._sock.sendall(len(frame).to_bytes(_LENGTH, "big") + frame)

    def receive(self) -> list[bytes]:
        """What has come. Waits where nothing has; [] at the end."""
        while True:
            frames, at = [], 0
            while len(self._got) >= at + _LENGTH:
                end = at + _LENGTH + int.from_bytes(self._got[at : at + _LENGTH], "big")
                if end > len(self._got):
                    break
                frames.append(self._got[at + _LENGTH : end])
                at = end
            self._got = self._got[at:]
            if frames:
                return frames
            data = self._sock.recv(1 << 16)
            if not data:
                return []
            self._got += data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


class Station:
    """A host with one address that answers ARP, and keeps all IP packets that come. A context manager."""

    def __init__(self, path: Path, address: str, mac: str) -> None:
        self.address = address
        self.mac = mac
        self.came: list[Packet] = []
        self._wire = Wire(path)
        self._known: dict[str, str] = {}
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Station:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.close()
        self._thread.join(_STEP_S)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while frames := self._wire.receive():
                for data in frames:
                    self._hear(Ether(data))

    def _hear(self, frame: Packet) -> None:
        with self._news:
            if ARP in frame:
                self._known[frame[ARP].psrc] = frame[ARP].hwsrc
                if frame[ARP].op == 1 and frame[ARP].pdst == self.address:
                    reply = ARP(op=2, hwsrc=self.mac, psrc=self.address, hwdst=frame.src, pdst=frame[ARP].psrc)
                    self._wire.send(bytes(Ether(src=self.mac, dst=frame.src) / reply))
            elif IP in frame and frame.src != self.mac:
                self.came.append(frame)
            self._news.notify_all()

    def find(self, address: str) -> str:
        """Another host's hardware address."""
        end = time.monotonic() + _STEP_S
        with self._news:
            while address not in self._known:
                assert time.monotonic() < end, f"{address} does not answer ARP"
                ask = ARP(op=1, hwsrc=self.mac, psrc=self.address, pdst=address)
                self._wire.send(bytes(Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff") / ask))
                self._news.wait(1.0)
            return self._known[address]

    def send(self, *packets: Packet, via: str) -> None:
        """IP packets, whoever they say they are from, to that host of the network."""
        mac = self.find(via)
        for packet in packets:
            self._wire.send(bytes(Ether(src=self.mac, dst=mac) / packet))

    def forget(self) -> None:
        """What has come so far."""
        with self._news:
            self.came.clear()

    def is_for(self, packet: Packet) -> bool:
        return bool(packet[IP].dst == self.address)

    def wait(self, wanted: Callable[[Packet], bool], timeout_s: float = _STEP_S) -> Packet | None:
        """The first packet of this kind that has come, or comes."""
        end = time.monotonic() + timeout_s
        with self._news:
            while True:
                for packet in self.came:
                    if wanted(packet):
                        return packet
                if not self._news.wait(max(0.0, end - time.monotonic())):
                    return None


@contextlib.contextmanager
def joined(space: Space, path: Path) -> Iterator[None]:
    """A namespace's tap is on the network, until the block ends."""
    wire, woken = Wire(path), socket.socketpair()
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", space.tap.encode(), _IFF_TAP | _IFF_NO_PI))

    def carry() -> None:
        with contextlib.suppress(OSError):
            while True:
                ready = select.select([wire, tap, woken[1]], [], [])[0]
                if woken[1] in ready:
                    return
                if tap in ready:
                    wire.send(os.read(tap, 1 << 16))
                if wire in ready:
                    frames = wire.receive()
                    if not frames:
                        return
                    for frame in frames:
                        with contextlib.suppress(OSError):  # the tap is down
                            os.write(tap, frame)

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield
    finally:
        woken[0].close()
        thread.join(_STEP_S)
        wire.close()
        woken[1].close()
        os.close(tap)
