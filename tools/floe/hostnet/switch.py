# SPDX-License-Identifier: MIT
"""Ethernet switches in one event loop: cards connect to a UNIX socket each network has, and their frames go to the card
that they are for. Frames travel as spec/network.py says: behind their length, 4 bytes big endian. IEEE 802.1D, 7.8:
learning; there are no loops, and so no spanning tree.

Nothing is lost between cards that take their frames: who sends to one that is behind is not read until it has caught
up. One that takes nothing at all loses what comes for it, and holds nobody up. What a card says is not trusted.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Protocol

_LENGTH = 4
_HEADER = 14  # of an Ethernet frame
_MAX_FRAME = 1 << 17  # beyond any frame of QEMU's; what claims more is none
_CHUNK = 1 << 16
_HIGH = 1 << 20  # bytes queued for a card at which those who send to it are not read
_LOW = 1 << 18
STALL_S = 0.5  # how long a card may take nothing, and others be held up for it
_MAX_MACS = 4096  # of a network; the one that was learnt first makes room
_MAX_IOV = 64  # parts of one sendmsg()


class Station(Protocol):
    """What answers on a network as the switch itself."""

    mac: bytes

    def receive(self, frame: bytes) -> None:
        """A frame for its address, or for all."""


class Loop:
    """What waits for sockets and for times, for all networks of a process."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.ticks: list[Callable[[float], float | None]] = []  # called after each wait; when they want to be again
        self.stopping = False

    def run(self) -> None:
        """Serve until `stopping`."""
        wait: float | None = None
        while not self.stopping:
            for key, events in self.selector.select(wait):
                key.data(events)  # which may be closed by now, by one that was served before it
            now = time.monotonic()
            wanted = [at for tick in self.ticks if (at := tick(now)) is not None]
            wait = max(0.0, min(wanted) - now) if wanted else None


class Card:
    """One connection."""

    def __init__(self, network: Network, sock: socket.socket) -> None:
        self.sock = sock
        self.queued = 0
        self.asleep = False  # it took nothing for long: what comes for it is dropped
        self.dropped = 0  # frames
        self._network = network
        self._got = bytearray()
        self._queue: deque[bytes | memoryview] = deque()
        self._waiting: set[Card] = set()  # who is not read until this one has caught up
        self._behind: set[Card] = set()  # for whom this one is not read
        self._since = 0.0  # when it took something last, or was found behind
        self._wanted = 0
        self._want(selectors.EVENT_READ)

    def close(self) -> None:
        """Cut the wire."""
        self._want(0)
        self.sock.close()
        self._network.left(self)
        for other in list(self._waiting):
            other.caught_up(self)
        for other in self._behind:
            other._waiting.discard(self)

    def give(self, data: bytes, sender: Card | None) -> None:
        """Queue a frame for it, with its length before it; flush() sends."""
        if self.asleep:
            self.dropped += 1
            return
        self._queue.append(data)
        self.queued += len(data)
        if self.queued > _HIGH and sender is not None:
            if not self._waiting:
                self._since = time.monotonic()
                self._network.behind.add(self)
            self._waiting.add(sender)
            sender._behind.add(self)

    def flush(self) -> None:
        """Send what it takes. May close it."""
        try:
            while self._queue:
                sent = self.sock.sendmsg(list(islice(self._queue, _MAX_IOV)))
                self.queued -= sent
                self._since = time.monotonic()
                while self._queue and sent >= len(self._queue[0]):
                    sent -= len(self._queue.popleft())
                if sent:
                    self._queue[0] = memoryview(self._queue[0])[sent:]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self.queued <= _LOW:
            self.asleep = False
            for other in list(self._waiting):
                other.caught_up(self)
        self._listen()

    def caught_up(self, other: Card) -> None:
        """Another card, for which this one was not read, is not in the way any more."""
        self._behind.discard(other)
        other._waiting.discard(self)
        if self.sock.fileno() >= 0:
            self._listen()

    def check(self, now: float) -> float | None:
        """Put to sleep one that takes nothing while others wait for it; when to look again."""
        if not self._waiting:
            return None
        if now < self._since + self._network.stall_s:
            return self._since + self._network.stall_s
        self.asleep = True
        for other in list(self._waiting):
            other.caught_up(self)
        return None

    def _listen(self) -> None:
        self._want((0 if self._behind else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self._queue else 0))

    def _want(self, events: int) -> None:
        """A selector has no word for a socket of which nothing is wanted just now."""
        selector = self._network.loop.selector
        if not events:
            if self._wanted:
                selector.unregister(self.sock)
        elif not self._wanted:
            selector.register(self.sock, events, self._ready)
        elif events != self._wanted:
            selector.modify(self.sock, events, self._ready)
        self._wanted = events

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE and self.sock.fileno() >= 0:
            self.flush()
        if events & selectors.EVENT_READ and self.sock.fileno() >= 0:
            self._read()

    def _read(self) -> None:
        try:
            data = self.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._got += data
        got, at = bytes(self._got), 0
        while len(got) - at >= _LENGTH:
            size = int.from_bytes(got[at : at + _LENGTH], "big")
            if size > _MAX_FRAME:
                self.close()
                return
            end = at + _LENGTH + size
            if end > len(got):
                break
            if size >= _HEADER:
                self._network.carry(self, got[at:end])
            at = end
        del self._got[:at]
        self._network.flush()
        if self.sock.fileno() >= 0:
            self._listen()


class Network:
    """One switch. Owns its socket and its cards."""

    def __init__(self, loop: Loop, path: Path, *, stall_s: float = STALL_S) -> None:
        self.loop = loop
        self.stall_s = stall_s
        self.station: Station | None = None
        self.cards: set[Card] = set()
        self.behind: set[Card] = set()  # for whom others wait
        self._path = path
        self._macs: dict[bytes, Card] = {}
        self._touched: set[Card] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._listener.setblocking(False)
        loop.selector.register(self._listener, selectors.EVENT_READ, self._accept)
        loop.ticks.append(self._tick)

    def close(self) -> None:
        """Cut all wires, and remove the socket."""
        self.loop.ticks.remove(self._tick)
        self.loop.selector.unregister(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        for card in list(self.cards):
            card.close()

    def is_joined(self, mac: bytes) -> bool:
        """Whether a card with this hardware address has been heard, and is there still."""
        return mac in self._macs

    def left(self, card: Card) -> None:
        """A card is gone."""
        self.cards.discard(card)
        self.behind.discard(card)
        self._touched.discard(card)
        self._macs = {mac: other for mac, other in self._macs.items() if other is not card}

    def carry(self, sender: Card, data: bytes) -> None:
        """Give a frame, with its length before it, to whom it is for; flush() sends."""
        target, source = data[4:10], data[10:16]
        own = self.station.mac if self.station is not None else b""
        if source[0] & 1 or source == own:
            return  # nobody's address, or ours
        if self._macs.get(source) is not sender:
            self._macs.pop(source, None)
            if len(self._macs) >= _MAX_MACS:
                del self._macs[next(iter(self._macs))]
            self._macs[source] = sender
        if target == own or (target[0] & 1 and own):
            assert self.station is not None
            self.station.receive(data[_LENGTH:])
        if target != own:
            self._send(target, data, sender)

    def inject(self, frame: bytes) -> None:
        """Send a frame of the station's."""
        self._send(frame[:6], len(frame).to_bytes(_LENGTH, "big") + frame, None)
        self.flush()

    def _send(self, target: bytes, data: bytes, sender: Card | None) -> None:
        one = self._macs.get(target)
        for card in (one,) if one is not None else self.cards:
            if card is not sender:
                card.give(data, sender)
                self._touched.add(card)

    def flush(self) -> None:
        """Send what was given."""
        touched, self._touched = self._touched, set()
        for card in touched:
            if card.sock.fileno() >= 0:
                card.flush()

    def _accept(self, events: int) -> None:
        with contextlib.suppress(OSError):  # it has gone again, or there is no descriptor left
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self.cards.add(Card(self, sock))

    def _tick(self, now: float) -> float | None:
        wanted = {card: card.check(now) for card in self.behind}
        self.behind -= {card for card, at in wanted.items() if at is None}
        return min((at for at in wanted.values() if at is not None), default=None)
