# SPDX-License-Identifier: MIT
"""One zone fetched from a primary by TCP (RFC 5936), if it is newer than ours. A step at a time, in the poll loop."""

import errno
import os
import socket
import struct

import dnsname
import rrtype
import tsig
from appliance.loop import IN, OUT
from message import HEADER
from rrtype import AXFR, SOA
from zone import Zone

_SILENCE_MS = 15000  # without a byte from the primary
_MAX_UNSIGNED = 99  # messages in a row without a signature (RFC 8945, 5.3.1)
_RECEIVE = 4096


class _Failed(ValueError):
    """What the primary did wrong."""


class Fetch:
    """Owns its socket. done(zone or None, error): called once."""

    def __init__(self, loop: object, settings: object, primary: tuple, serial: int | None, done: object) -> None:
        self._loop = loop
        self._settings = settings
        self._primary = primary
        self._serial = serial
        self._done = done
        self._sock = None
        self._pending = b""
        self._out = b""
        self._id = b""
        self._asked = SOA
        self._zone = None  # being received
        self._first = None  # its SOA
        self._mac: tuple = (b"", b"", False)  # see tsig.verify()
        self._unsigned = 0
        self._heard = True
        self._clock = None

    def start(self) -> None:
        self._clock = self._loop.call_later(_SILENCE_MS, self._check_silence, _SILENCE_MS)
        host, port = self._primary
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._sock = socket.socket(family, socket.SOCK_STREAM)
            self._sock.setblocking(False)
            try:
                self._sock.connect((host, port))
            except OSError as exc:
                if exc.errno != errno.EINPROGRESS:
                    raise
            self._ask(SOA)
        except OSError as exc:
            error = "error %d" % exc.errno
            self._loop.call_later(0, lambda: self._end(None, error))

    def _ask(self, rtype: int) -> None:
        self._asked = rtype
        self._id = os.urandom(2)
        query = self._id + b"\0\0\0\1\0\0\0\0\0\0" + self._settings.name + struct.pack(">HH", rtype, 1)
        mac = b""
        if self._settings.key is not None:
            query, mac = tsig.sign(query, self._settings.key)
        self._mac = (mac, b"", False)
        self._out += struct.pack(">H", len(query)) + query
        self._loop.watch(self._sock, self, IN | OUT)

    # ---- called by the loop ---------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """May raise."""
        if events & OUT and self._out:
            sent = self._sock.write(self._out) or 0
            self._out = self._out[sent:]
            if not self._out:
                self._loop.watch(self._sock, self, IN)
        if events & IN:
            data = self._sock.recv(_RECEIVE)
            if not data:
                raise _Failed("the connection was closed")
            self._heard = True
            self._pending += data
            self._take()
        elif not events & OUT:
            raise _Failed("no connection")

    def failed(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            if exc.errno != errno.EAGAIN:
                self._end(None, "error %d" % exc.errno)
        elif isinstance(exc, (ValueError, IndexError)):
            self._end(None, str(exc) or "malformed answer")
        else:
            self._end(None, "%s: %s" % (type(exc).__name__, exc))

    def _check_silence(self) -> None:
        if not self._heard:
            self._end(None, "no answer")
        self._heard = False

    def _end(self, zone: Zone | None, error: str) -> None:
        if self._done is None:
            return
        done, self._done = self._done, None
        self._clock.cancel()
        if self._sock is not None:
            self._loop.unwatch(self._sock)
            self._sock.close()
        done(zone, error)

    # ---- messages -------------------------------------------------------------------------------

    def _take(self) -> None:
        while self._done is not None and len(self._pending) >= 2:
            end = 2 + (self._pending[0] << 8 | self._pending[1])
            if len(self._pending) < end:
                return
            message, self._pending = self._pending[2:end], self._pending[end:]
            self._message(message)

    def _message(self, message: bytes) -> None:
        if len(message) < HEADER or message[:2] != self._id or not message[2] & 0x80:
            raise _Failed("an answer to something else")
        if message[3] & 15:
            raise _Failed("refused with code %d" % (message[3] & 15))
        questions, answers, authority, additional = struct.unpack_from(">HHHH", message, 4)
        at = HEADER
        for _ in range(questions):
            at = dnsname.read(message, at)[1] + 4
        records = []
        signature = 0
        for i in range(answers + authority + additional):
            start = at
            owner, at = dnsname.read(message, at)
            rtype, rclass, ttl, size = struct.unpack_from(">HHIH", message, at)
            at += 10
            if rtype == rrtype.TSIG:
                signature = start
            elif i < answers:
                if rclass != 1:
                    raise _Failed("a record of another class")
                records.append((owner, rtype, ttl, rrtype.from_wire(rtype, message, at, size)))
            at += size
        self._check_signature(message, signature)
        if self._asked == SOA:
            self._compare(records)
        else:
            self._receive(records)

    def _check_signature(self, message: bytes, at: int) -> None:
        key = self._settings.key
        if key is None:
            return
        mac, unsigned, later = self._mac
        if at:
            _, mac = tsig.verify(message, at, {key.name: key}, self._mac)
            self._mac = (mac, b"", True)
            self._unsigned = 0
        else:
            self._unsigned += 1
            if not later or self._unsigned > _MAX_UNSIGNED:
                raise _Failed("an answer without a signature")
            self._mac = (mac, unsigned + message, True)

    def _compare(self, records: list) -> None:
        """Ask for the zone if its serial there is newer (RFC 1982)."""
        found = [data for owner, rtype, _, data in records if rtype == SOA and owner == self._settings.name]
        if not found:
            raise _Failed("no SOA in the answer")
        serial = int.from_bytes(found[0][-20:-16], "big")
        if self._serial is not None and (serial - self._serial - 1) & 0xFFFFFFFF >= 0x7FFFFFFF:
            self._end(None, "")
        else:
            self._ask(AXFR)

    def _receive(self, records: list) -> None:
        for owner, rtype, ttl, data in records:
            if self._zone is None:
                if rtype != SOA or owner != self._settings.name:
                    raise _Failed("a transfer that does not begin with the SOA")
                self._zone = Zone(owner)
                self._first = data
            elif rtype == SOA:
                if data != self._first:
                    raise _Failed("the zone has changed in the middle of its transfer")
                if self._unsigned:
                    raise _Failed("the last message has no signature")
                self._zone.finish()
                self._end(self._zone, "")
                return
            self._zone.add(owner, rtype, ttl, data)
