# SPDX-License-Identifier: MIT
"""Queries for names that no zone here has, answered by other servers and from what they said before. Clients that ask
the same at the same time share one question."""

from cache import Cache, Entry
from compose import REFUSED, SERVFAIL
from message import HEADER, Query
from ratelimit import cut_off
from upstream import Ask

_TRIES = 4  # questions for one answer, to the servers in turn
_PENDING = 512  # questions at once


class _Pending:
    """A question on its way, and who waits for the answer."""

    def __init__(self, question: bytes, dnssec_ok: bool) -> None:
        self.question = question
        self.dnssec_ok = dnssec_ok
        self.clients: list = []  # (query, via, address)
        self.tries = 0


class Forwarder:
    """servers: (address, port) of those that are asked. access: who may ask."""

    def __init__(self, loop: object, servers: list, access: object, cache_size: int) -> None:
        self._loop = loop
        self._servers = servers
        self._access = access
        self._cache = Cache(cache_size)
        self._pending: dict = {}
        self._best = 0  # the server that answered last
        self.udp_size = 1232
        self.hits = 0
        self.asked = 0

    def answer(self, query: Query, via: object, address: tuple, refuse: object) -> object:
        """The answer, or None if it comes later by via.reply(). refuse(query, code): makes an answer with a code."""
        if not query.message[2] & 1 or query.rclass != 1 or not self._access.allows(address[0], None):
            return refuse(query, REFUSED)
        question = query.name + query.message[query.end - 4 : query.end]
        key = question + (b"D" if query.dnssec_ok else b"")
        entry = self._cache.get(key)
        if entry is not None:
            self.hits += 1
            return self._fitted(entry, query, via)
        pending = self._pending.get(key)
        if pending is None:
            if len(self._pending) >= _PENDING:
                return refuse(query, SERVFAIL)
            pending = self._pending[key] = _Pending(question, query.dnssec_ok)
            self._try(key, pending)
        pending.clients.append((query, via, address, refuse))
        return None

    def _try(self, key: bytes, pending: _Pending) -> None:
        number = (self._best + pending.tries) % len(self._servers)
        pending.tries += 1
        self.asked += 1

        def done(message: bytes | None) -> None:
            self._answered(key, pending, message, number)

        Ask(self._loop, self._servers[number], pending.question, pending.dnssec_ok, done).start()

    def _answered(self, key: bytes, pending: _Pending, message: bytes | None, number: int) -> None:
        entry = None
        if message is not None:
            try:
                entry = Entry(message, HEADER + len(pending.question))
            except (ValueError, IndexError):
                entry = None
        if entry is None or (entry.code in (SERVFAIL, REFUSED) and pending.tries < len(self._servers)):
            if pending.tries < _TRIES:
                self._try(key, pending)
                return
        else:
            self._best = number
            self._cache.put(key, entry)
        del self._pending[key]
        for query, via, address, refuse in pending.clients:
            answer = refuse(query, SERVFAIL) if entry is None else self._fitted(entry, query, via)
            via.reply(answer, address)

    def _fitted(self, entry: Entry, query: Query, via: object) -> bytes:
        answer = entry.answer(query, self.udp_size)
        if via.udp and len(answer) > min(query.size, self.udp_size):
            opt = query.opt(self.udp_size)
            answer = cut_off(answer)
            if opt:
                answer = answer[:11] + b"\1" + answer[12:] + opt
        return answer

    def forget(self) -> None:
        self._cache.clear()

    def __len__(self) -> int:
        """Answers kept."""
        return len(self._cache)
