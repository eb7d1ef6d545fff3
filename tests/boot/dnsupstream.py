# SPDX-License-Identifier: MIT
"""A name server on this machine for images/dns to ask, which answers well or badly by the name it is asked for."""

from __future__ import annotations

import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

SOA = "ns.up.test. host.up.test. 1 2 3 4 7"


class Upstream:
    """Answers by UDP and TCP on `port` of an address, in threads of its own. port 0: any. `seen`: (name, letters, id, port, by UDP)."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.seen: list[tuple[str, str, int, int, bool]] = []
        self.udp = socket.socket(type=socket.SOCK_DGRAM)
        self.tcp = socket.socket()
        while True:
            self.udp.bind((address, port))
            self.port = int(self.udp.getsockname()[1])
            try:
                self.tcp.bind((address, self.port))
                break
            except OSError:
                self.udp.close()
                self.udp = socket.socket(type=socket.SOCK_DGRAM)
        self.tcp.listen(16)
        self._ended = False
        self.udp.settimeout(0.1)
        self.tcp.settimeout(0.1)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._serve_udp, self._serve_tcp)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        for thread in self._threads:
            thread.join(10)
        self.udp.close()
        self.tcp.close()

    def count(self, name: str) -> int:
        return sum(1 for seen in self.seen if seen[0] == name)

    def _serve_udp(self) -> None:
        while not self._ended:
            try:
                wire, address = self.udp.recvfrom(4096)
            except TimeoutError:
                continue
            for answer in self._answers(wire, address[1], True):
                self.udp.sendto(answer, address)

    def _serve_tcp(self) -> None:
        while not self._ended:
            try:
                sock, address = self.tcp.accept()
            except TimeoutError:
                continue
            with sock:
                sock.settimeout(5)
                try:
                    size = struct.unpack(">H", sock.recv(2, socket.MSG_WAITALL))[0]
                    for answer in self._answers(sock.recv(size, socket.MSG_WAITALL), address[1], False):
                        sock.sendall(struct.pack(">H", len(answer)) + answer)
                except (OSError, struct.error):
                    continue

    def _answers(self, wire: bytes, port: int, udp: bool) -> list[bytes]:
        query = dns.message.from_wire(wire)
        letters = str(query.question[0].name)
        name = letters.lower()
        self.seen.append((name, letters, query.id, port, udp))
        kind = name.split(".")[0]
        reply = dns.message.make_response(query)
        if kind == "silent":
            return []
        if kind == "fails":
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif kind == "nothing" or kind.startswith("nx"):
            reply.set_rcode(dns.rcode.NXDOMAIN if kind.startswith("nx") else dns.rcode.NOERROR)
            reply.authority.append(dns.rrset.from_text("up.test.", 300, "IN", "SOA", SOA))
        else:
            ttl = 0 if kind == "zero" else 300
            reply.answer.append(dns.rrset.from_text(letters, ttl, "IN", "A", "192.0.2.77"))
        if kind == "large":
            reply.answer.append(dns.rrset.from_text(letters, 300, "IN", "TXT", *(f"{i}{'x' * 200}" for i in range(20))))
        return self._altered(reply, kind, udp)

    def _altered(self, reply: dns.message.Message, kind: str, udp: bool) -> list[bytes]:
        if kind == "slow":
            time.sleep(0.4)
        if udp and kind in ("cut", "large"):
            reply.answer.clear()
            reply.flags |= dns.flags.TC
        answer = reply.to_wire(max_size=65535)
        if kind == "letters" and udp:
            return [answer[:12] + answer[12:].lower()]
        if kind == "forged":
            false = answer.replace(b"\xc0\x00\x02\x4d", b"\x06\x06\x06\x06")  # another address and another id
            return [bytes([false[0] ^ 1]) + false[1:], false[:1] + bytes([false[1] ^ 0x80]) + false[2:], answer]
        if kind == "broken":
            return [answer[:-7]]
        return [answer]
