# SPDX-License-Identifier: MIT
"""Whether an address is in use on a link: ARP asks for it, as if from nobody (RFC 5227), and waits a little."""

import ether

_MOST = 32  # addresses at once
_EVERY_MS = 150


class Probes:
    """Of one card. send(frame); mac: of the card."""

    def __init__(self, loop: object, mac: bytes, send: object, wait_ms: int) -> None:
        self._loop = loop
        self._mac = mac
        self._send = send
        self._wait_ms = wait_ms
        self._asked: dict = {}  # address -> (MAC address of who may have it, done)

    def ask(self, address: int, owner: bytes, done: object) -> bool:
        """done(MAC address of somebody else who has it, or None), once. False: no more can be asked for now."""
        if not self._wait_ms:
            done(None)
            return True
        if len(self._asked) >= _MOST or address in self._asked:
            return False
        entry = (owner, done)
        frame = ether.arp_request(self._mac, address)
        if self._wait_ms > _EVERY_MS:
            self._loop.call_later(_EVERY_MS, lambda: self._again(address, entry, frame))
        self._loop.call_later(self._wait_ms, lambda: self._end(address, entry, None))
        self._asked[address] = entry  # what is here ends: memory may have been short before
        self._send(frame)
        return True

    def _again(self, address: int, entry: tuple, frame: bytes) -> None:
        if self._asked.get(address) is entry:
            self._send(frame)

    def heard(self, address: int, mac: bytes) -> None:
        """Somebody says that an address is theirs."""
        entry = self._asked.get(address)
        if entry is not None and mac != entry[0]:
            self._end(address, entry, mac)

    def _end(self, address: int, entry: tuple, mac: bytes | None) -> None:
        if self._asked.get(address) is entry:
            del self._asked[address]
            entry[1](mac)
