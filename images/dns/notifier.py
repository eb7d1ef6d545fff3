# SPDX-License-Identifier: MIT
"""Tells others that a zone has changed (RFC 1996), and again until they say that they have heard it."""

import os
import socket
import struct

import dnsname
import tsig
from appliance.loop import IN
from message import HEADER, NOTIFY
from rrtype import SOA

_TRIES = 5
_FIRST_WAIT_MS = 2000  # doubled with each try


class Notifier:
    """Owns a socket of each family that is used."""

    def __init__(self, app: object) -> None:
        self._loop = app.loop
        self._log = app.log
        self._sockets: dict = {}  # family -> socket
        self._waiting: dict = {}  # id of a message -> [address, message, name, tries so far, its timer]

    def tell(self, settings: object, zone: object) -> None:
        """All that are to be told of a zone."""
        soa = zone.soa()
        body = settings.name + struct.pack(">HH", SOA, 1)
        body += b"\xc0\x0c" + struct.pack(">HHIH", SOA, 1, soa[0], len(soa[1])) + soa[1]
        for target in settings.notify:
            number = os.urandom(2)
            message = number + bytes([NOTIFY << 3 | 4, 0]) + struct.pack(">HHHH", 1, 1, 0, 0) + body
            if settings.key is not None:
                message = tsig.sign(message, settings.key)[0]
            self._wait_for(number, target, message, dnsname.to_text(settings.name))
            self._send(number)

    def _wait_for(self, number: bytes, target: tuple, message: bytes, name: str) -> None:
        """All that the tries take is here before the first: a timer with a period needs no memory."""
        timer = self._loop.call_later(_FIRST_WAIT_MS, lambda: self._send(number), _FIRST_WAIT_MS)
        try:
            self._waiting[number] = [target, message, name, 0, timer]
        except MemoryError:
            timer.cancel()
            raise

    def _send(self, number: bytes) -> None:
        waiting = self._waiting[number]
        target, message, name, tries, timer = waiting
        if tries == _TRIES:
            self._forget(number)
            self._log.warning("zone %s: %s@%d does not answer to notifications", name, target[0], target[1])
            return
        waiting[3] = tries + 1
        timer.again(_FIRST_WAIT_MS << tries)
        try:
            self._socket(target[0]).sendto(message, target)
        except (OSError, MemoryError):
            pass  # the next try may find a way

    def _forget(self, number: bytes) -> None:
        self._waiting.pop(number)[4].cancel()

    def _socket(self, host: str) -> object:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self._sockets.get(family)
        if sock is None:
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.bind(socket.getaddrinfo("::" if ":" in host else "0.0.0.0", 0, family)[0][-1])
            self._sockets[family] = sock
            self._loop.watch(sock, self, IN)
        return sock

    def ready(self, events: int) -> None:
        for sock in self._sockets.values():
            try:
                message, address = sock.recvfrom(512)
            except OSError:
                continue
            waiting = self._waiting.get(message[:2])
            if waiting is None or len(message) < HEADER or message[2] & 0xF8 != 0x80 | NOTIFY << 3:
                continue
            if address[0] == waiting[0][0] and address[1] == waiting[0][1]:
                self._forget(message[:2])

    def failed(self, exc: Exception) -> None:
        """The next try shows it."""
