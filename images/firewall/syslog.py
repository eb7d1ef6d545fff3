# SPDX-License-Identifier: MIT
"""Lines to a server of syslog: RFC 5424, by UDP (RFC 5426) or TCP (RFC 6587, counted octets). What cannot be sent
waits, in a bounded queue; nothing waits for the server."""

import errno
import socket
import time

from gateway import Table

_KEYS = ("server", "port", "proto", "facility")
_NAMES = "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock"
_FACILITIES = _NAMES.split() + ["local%d" % i for i in range(8)]
WARNING, NOTICE = 4, 5
_WAITING = 1000  # lines at most
_AGAIN_MS = 5000  # between two attempts to reach a server by TCP
_NOT_NOW = (errno.EAGAIN, errno.EINPROGRESS, 12, 105, 107, 114)  # ENOMEM, ENOBUFS, ENOTCONN, EALREADY


class Syslog:
    """Where lines go. settings: the table [syslog]. Raises SettingsError.

    sent, lost: lines; lost ones met a full queue, or an error of the socket."""

    def __init__(self, where: str, settings: object, host: str, name: str) -> None:
        table = Table(where, settings, _KEYS)
        self.made_of = settings
        self._server = table.address("server")
        self._port = table.number("port", 514, 1, 65535)
        self._is_tcp = table.names("proto", ("tcp", "udp"), ["udp"]) == ["tcp"]
        facility = table.names("facility", _FACILITIES, ["local0"])
        self._facility = 8 * _FACILITIES.index(facility[0])
        self._middle = " %s %s - - - " % (host or "-", name)
        self._lines: list = []
        self._sock = None
        self._done = 0  # bytes of the first line that TCP has taken
        self._again = time.ticks_ms()
        self.sent = 0
        self.lost = 0

    def put(self, severity: int, wall_ns: int, text: str) -> None:
        if len(self._lines) >= _WAITING:
            self.lost += 1
            return
        self._lines.append("<%d>1 %s%s%s" % (self._facility + severity, stamp(wall_ns), self._middle, text))

    def send(self) -> None:
        """Send what can be sent now."""
        if not self._lines or (self._sock is None and not self._open()):
            return
        try:
            while self._lines:
                line = self._lines[0].encode()
                if self._is_tcp:
                    line = b"%d %s" % (len(line), line)
                    self._done += self._sock.send(line[self._done :])
                    if self._done < len(line):
                        continue
                else:
                    self._sock.send(line)
                self._next()
                self.sent += 1
        except OSError as exc:
            if exc.errno not in _NOT_NOW:
                if self._done or not self._is_tcp:  # what a connection has taken in part is lost with it
                    self._next()
                    self.lost += 1
                self.close()

    def _next(self) -> None:
        self._lines.pop(0)
        self._done = 0

    def _open(self) -> bool:
        if time.ticks_diff(self._again, time.ticks_ms()) > 0:
            return False
        self._again = time.ticks_add(time.ticks_ms(), _AGAIN_MS)
        kind = socket.SOCK_STREAM if self._is_tcp else socket.SOCK_DGRAM
        try:
            family = socket.AF_INET6 if ":" in self._server else socket.AF_INET
            self._sock = socket.socket(family, kind)
            self._sock.setblocking(False)
            self._sock.connect(socket.getaddrinfo(self._server, self._port, 0, kind)[0][-1])
        except OSError as exc:
            if exc.errno not in _NOT_NOW:
                self.close()
                return False
        return True

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def stamp(wall_ns: int) -> str:
    """As RFC 3339 has it, in UTC, with microseconds."""
    day = "%04d-%02d-%02dT%02d:%02d:%02d" % tuple(time.gmtime(wall_ns // 1000000000)[:6])
    return "%s.%06dZ" % (day, wall_ns % 1000000000 // 1000)


def told(record: object, cards: dict) -> str:
    """A record of the engine's log as text. cards: {number: name}."""
    words = [record.text + ":"]
    for key, card in (("in", record.in_), ("out", record.out)):
        words.append("%s=%s" % (key, "this" if card is None else cards.get(card, card)))
    words += ["proto=%d" % record.proto, "src=%s" % record.src, "dst=%s" % record.dst]
    if record.sport or record.dport:
        words += ["sport=%d" % record.sport, "dport=%d" % record.dport]
    words.append("length=%d" % record.length)
    return " ".join(words)
