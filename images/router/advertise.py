# SPDX-License-Identifier: MIT
"""Router advertisements of one card (RFC 4861, 6.2; RFC 8106): prefixes of its addresses, name servers, MTU."""

import os
import socket
import struct

import ether
from names import wire

_MOST_S, _LEAST_S = 600, 200  # between two that nobody asked for
_FIRST_S, _FIRST = 16, 3  # and of the first ones
_AGAIN_MS = 500  # after one that could not be sent
_LIFETIME_S = 1800
_VALID_S, _PREFERRED_S = 86400, 14400
_NAMES_S = 1800
_ANSWERS = 8  # answers a second
_ANSWER_MS = 500  # an answer waits for so long at most, that not all come at once (6.2.6)
_PREFERRED = 0x30  # state of an address that is in use
_HOPS = 64


def _random(most: int) -> int:
    return int.from_bytes(os.urandom(4), "big") % most


class Advertiser:
    """Owns the timer. settings: mtu (0: none), dns (True: names of this machine's, or a list), domains, prefixes (a
    list of (16 bytes, bits), None: those of the card)."""

    def __init__(self, loop: object, card: object, settings: object) -> None:
        self._loop = loop
        self._card = card
        self._settings = settings
        self._timer = None
        self._filler = None
        self._sent = 0
        self._room = _ANSWERS
        self._stopped = False
        self.counts = {"advertised": 0, "answered": 0, "limited": 0}

    def start(self) -> None:
        self._card.is_router()
        self._filler = self._loop.call_later(1000, self._fill, 1000)
        self._timer = self._loop.call_later(0, self._send_unasked, _AGAIN_MS)

    def _fill(self) -> None:
        self._room = _ANSWERS

    def _send_unasked(self) -> None:
        """What cannot be sent is sent a little later."""
        if self.send(_LIFETIME_S):
            self._sent += 1
            self.counts["advertised"] += 1
            ms = _LEAST_S * 1000 + _random((_MOST_S - _LEAST_S) * 1000)
            self._timer.again(min(ms, _FIRST_S * 1000) if self._sent < _FIRST else ms)

    def asked(self, solicitation: object) -> None:
        """Answer it, after a moment that is drawn."""
        if not self._room:
            self.counts["limited"] += 1
            return
        self._room -= 1

        def answer() -> None:
            if self._stopped:
                return
            if any(solicitation.address):
                self.send(_LIFETIME_S, solicitation.mac, solicitation.address)
            else:
                self.send(_LIFETIME_S)
            self.counts["answered"] += 1

        self._loop.call_later(_random(_ANSWER_MS), answer)

    def change(self, settings: object) -> None:
        """Advertise something else from now on."""
        self._settings = settings
        self._timer.again(0)

    def stop(self) -> None:
        """This is no router any more."""
        self._stopped = True
        for timer in (self._timer, self._filler):
            if timer is not None:
                timer.cancel()
        self.send(0)
        self._card.is_router(False)

    # ---- the message ----------------------------------------------------------------------------

    def send(self, lifetime_s: int, mac: bytes = b"\x33\x33\0\0\0\1", to: bytes = ether.ALL_NODES) -> bool:
        """False: the card has no address yet, or none beyond the link: then this is no way to anywhere."""
        addresses = self._addresses()
        own = [found for found in addresses if found[:2] == b"\xfe\x80"]
        prefixes = self._prefixes(addresses)
        if not own or not prefixes:
            return False
        message = struct.pack(">BBHBBHII", 134, 0, 0, _HOPS, 0, lifetime_s, 0, 0) + b"\1\1" + self._card.mac
        if self._settings.mtu:
            message += struct.pack(">BBHI", 5, 1, 0, self._settings.mtu)
        for prefix, bits in prefixes:
            message += struct.pack(">BBBBIII", 3, 4, bits, 0xC0, _VALID_S, _PREFERRED_S, 0) + prefix
        message += self._names((_beyond(addresses) or own)[0], _NAMES_S if lifetime_s else 0)
        return self._card.send(ether.icmp6((self._card.mac, mac), own[0] + to, message))

    def _addresses(self) -> list:
        """Those in use, as bytes."""
        found = []
        for text, state, _, _ in self._card.lan.ipconfig("addr6"):
            if state == _PREFERRED:
                found.append(socket.inet_pton(socket.AF_INET6, text.split("%")[0]))
        return found

    def _prefixes(self, addresses: list) -> list:
        if self._settings.prefixes is not None:
            return self._settings.prefixes
        return sorted({(found[:8] + bytes(8), 64) for found in _beyond(addresses)})

    def _names(self, own: bytes, seconds: int) -> bytes:
        """Who answers for names, and what names end in."""
        servers = [own] if self._settings.dns is True else self._settings.dns
        out = b""
        if servers:
            out += struct.pack(">BBHI", 25, 1 + 2 * len(servers), 0, seconds) + b"".join(servers)
        if self._settings.domains:
            names = b"".join([wire(name) for name in self._settings.domains])
            names += bytes(-len(names) % 8)
            out += struct.pack(">BBHI", 31, 1 + len(names) // 8, 0, seconds) + names
        return out


def _beyond(addresses: list) -> list:
    """Those that are not of the link alone: what a client keeps of one of these may lose which link it was."""
    return [found for found in addresses if found[:2] != b"\xfe\x80"]
