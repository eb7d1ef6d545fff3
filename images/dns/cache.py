# SPDX-License-Identifier: MIT
"""Answers of other servers, kept for as long as they say (RFC 1035, 2308), as the bytes they came in."""

import struct
import time

import dnsname
from compose import NOERROR, NXDOMAIN
from message import HEADER, Query
from rrtype import OPT, SOA

_LONGEST_S = 86400
_LONGEST_DENIAL_S = 3600
_FAILURE_S = 5  # RFC 2308, section 7: a server that fails is not asked again at once


class Entry:
    """One answer without OPT, taken apart as far as it takes to send it again. Raises ValueError, IndexError."""

    def __init__(self, message: bytes, end: int) -> None:
        """end: of the question."""
        self._end = end
        self._stored = int(time.time())
        self._ttls: list = []  # (offset, seconds)
        self.code = message[3] & 15
        answers, authority, additional = struct.unpack_from(">HHH", message, 6)
        kept_s = _LONGEST_S
        denial_s = -1
        at = end
        self._additional = additional
        for i in range(answers + authority + additional):
            start = at
            at = dnsname.read(message, at)[1]
            rtype, _, ttl, size = struct.unpack_from(">HHIH", message, at)
            if at + 10 + size > len(message):
                raise ValueError("data is cut off")
            if rtype == OPT:  # its sender's, not ours; what little may stand behind it goes as well
                self._additional = i - answers - authority
                at = start
                break
            ttl = 0 if ttl > 0x7FFFFFFF else ttl  # RFC 2181, section 8
            self._ttls.append((at + 4, ttl))
            kept_s = min(kept_s, ttl)
            at += 10 + size
            if rtype == SOA and answers <= i < answers + authority:
                denial_s = min(ttl, int.from_bytes(message[at - 4 : at], "big"), _LONGEST_DENIAL_S)
        self._message = message[:at]
        if self.code not in (NOERROR, NXDOMAIN):
            kept_s = _FAILURE_S
        elif self.code == NXDOMAIN or not answers:
            kept_s = min(kept_s, denial_s) if denial_s >= 0 else 0
        self._kept_s = kept_s

    def size(self) -> int:
        return len(self._message) + 64 * len(self._ttls) + 256

    def is_fresh(self) -> bool:
        return 0 <= time.time() - self._stored < self._kept_s

    def answer(self, query: Query, udp_size: int) -> bytes:
        """To a client that asks the same, perhaps in other letters."""
        raw, end = query.message, self._end
        age = int(time.time()) - self._stored
        opt = query.opt(udp_size)
        out = bytearray(self._message)
        struct.pack_into(">H", out, 10, self._additional + (1 if opt else 0))
        for at, ttl in self._ttls:
            struct.pack_into(">I", out, at, max(0, ttl - age))
        out[2] = 0x80 | raw[2] & 1
        out[3] = 0x80 | self.code  # recursion is available
        return b"".join((raw[:2], bytes(out[2:HEADER]), raw[HEADER:end], bytes(out[end:]), opt))


class Cache:
    """Bounded by bytes; when it is full all goes that is not fresh, and if that is little, all."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._entries: dict = {}

    def get(self, key: bytes) -> Entry | None:
        entry = self._entries.get(key)
        return entry if entry is not None and entry.is_fresh() else None

    def put(self, key: bytes, entry: Entry) -> None:
        if not entry.is_fresh():
            return
        if self._used + entry.size() > self._size:
            self._shrink()
        old = self._entries.get(key)
        self._used += entry.size() - (old.size() if old is not None else 0)
        self._entries[key] = entry

    def _shrink(self) -> None:
        for key, entry in list(self._entries.items()):
            if not entry.is_fresh():
                self._used -= entry.size()
                del self._entries[key]
        if self._used > self._size * 3 // 4:
            self.clear()

    def clear(self) -> None:
        self._entries.clear()
        self._used = 0

    def __len__(self) -> int:
        return len(self._entries)
