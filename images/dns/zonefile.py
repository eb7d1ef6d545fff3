# SPDX-License-Identifier: MIT
"""Zone files (RFC 1035, section 5; RFC 2308, section 4; RFC 3597, section 5): text in, records out.

A record is a tuple (owner, type, ttl, data), the first and last in wire form. Not here: what makes a zone of
records (zone.py), the fields of their data (rrtype.py).
"""

import dnsname
import rrtype

_MAX_DEPTH = 8  # files that include one another
_CLASSES = (b"CH", b"HS", b"CS")


class ZoneError(ValueError):
    """What is wrong with a zone, and where."""

    def __init__(self, file: str, line: int, cause: str) -> None:
        super().__init__("%s:%d: %s" % (file, line, cause) if line else "%s: %s" % (file, cause))


def _quoted(line: bytes, at: int) -> int:
    """Where the closing quote of the string is that begins at line[at]."""
    while at < len(line):
        if line[at] == 0x22:
            return at
        at += 2 if line[at] == 0x5C else 1
    raise ValueError("a string without its closing quote")


def _split_special(line: bytes, words: list, depth: int) -> int:
    """Words of a line with quotes, comments, parentheses or escapes. Returns how many parentheses are open."""
    at, size = 0, len(line)
    while at < size:
        byte = line[at]
        if byte <= 0x20:
            at += 1
        elif byte == 0x3B:
            break
        elif byte == 0x28:
            depth += 1
            at += 1
        elif byte == 0x29:
            depth -= 1
            if depth < 0:
                raise ValueError("a closing parenthesis without an opening one")
            at += 1
        elif byte == 0x22:
            end = _quoted(line, at + 1)
            words.append(line[at + 1 : end])
            at = end + 1
        else:
            start = at
            while at < size and line[at] > 0x20 and line[at] not in b'";()':
                at += 2 if line[at] == 0x5C else 1
            words.append(line[start : min(at, size)])
    return depth


def _is_special(line: bytes) -> bool:
    return b'"' in line or b";" in line or b"(" in line or b")" in line or b"\\" in line


def entries(lines: object, file: str) -> object:
    """Yields (number of the line, whether it began with a blank, words) for each entry. Raises ZoneError."""
    first = depth = 0
    words: list = []
    blank = False
    for number, line in enumerate(lines, 1):
        if not depth:
            words = []
            first = number
            blank = line[:1] in (b" ", b"\t")
        try:
            if _is_special(line):
                depth = _split_special(line, words, depth)
            else:
                words.extend(line.split())
        except ValueError as exc:
            raise ZoneError(file, number, str(exc))
        if words and not depth:
            yield first, blank, words
    if depth:
        raise ZoneError(file, first, "an opening parenthesis without its closing one")


class Reader:
    """Reads one zone's file and those it includes. open_file(path): an iterable of lines as bytes."""

    def __init__(self, origin: bytes, open_file: object) -> None:
        self._apex = origin
        self._open = open_file
        self._owner: bytes | None = None
        self._ttl = -1  # of $TTL
        self._last_ttl = -1  # of the record before

    def records(self, file: str) -> object:
        """Yields (line, file, record). Raises ZoneError."""
        yield from self._read(file, self._apex, 1)

    def _read(self, file: str, origin: bytes, depth: int) -> object:
        try:
            lines = self._open(file)
        except OSError as exc:
            raise ZoneError(file, 0, "cannot be read (error %d)" % (exc.errno or 0))
        for number, blank, words in entries(lines, file):
            try:
                if words[0][:1] == b"$" and not blank:
                    word = words[0].upper()
                    if word == b"$INCLUDE":
                        yield from self._include(words, file, origin, depth)
                    elif word == b"$ORIGIN" and len(words) == 2:
                        origin = dnsname.from_text(words[1], origin)
                    elif word == b"$TTL" and len(words) == 2:
                        self._ttl = _time(words[1])
                    else:
                        raise ValueError("%s is no directive, or not whole" % dnsname.printable(words[0]))
                else:
                    yield number, file, self._record(blank, words, origin)
            except ZoneError:
                raise
            except ValueError as exc:
                raise ZoneError(file, number, str(exc))

    def _include(self, words: list, file: str, origin: bytes, depth: int) -> object:
        if not 2 <= len(words) <= 3:
            raise ValueError("$INCLUDE takes a file and perhaps an origin")
        if depth >= _MAX_DEPTH:
            raise ValueError("files include one another %d deep" % _MAX_DEPTH)
        path = str(rrtype.string(words[1]), "utf-8")
        if not path.startswith("/"):
            path = file.rsplit("/", 1)[0] + "/" + path if "/" in file else path
        below = dnsname.from_text(words[2], origin) if len(words) == 3 else origin
        owner = self._owner
        yield from self._read(path, below, depth + 1)
        self._owner = owner  # RFC 1035, section 5.1: origin and owner are as they were before

    def _record(self, blank: bool, words: list, origin: bytes) -> tuple:
        at = 0
        if not blank:
            self._owner = dnsname.from_text(words[0], origin)
            at = 1
        if self._owner is None:
            raise ValueError("the first record has no owner")
        ttl = -1
        for _ in range(2):  # the class and the time to live, in either order
            if at >= len(words):
                break
            word = words[at]
            if ttl < 0 and word[:1].isdigit():
                ttl = _time(word)
            elif word.upper() in _CLASSES:
                raise ValueError("class %s is not served" % dnsname.printable(word))
            elif word.upper() != b"IN":
                break
            at += 1
        if at >= len(words):
            raise ValueError("a record without a type")
        kind = rrtype.number_of(words[at])
        if kind < 0 or kind in (0, rrtype.OPT) or 249 <= kind <= 255:
            raise ValueError("%s is no type of a record" % dnsname.printable(words[at]))
        data = rrtype.from_text(kind, words[at + 1 :], origin)
        if len(data) > 65535:
            raise ValueError("data over 65535 bytes")
        return self._owner, kind, self._time_to_live(ttl, kind, data), data

    def _time_to_live(self, ttl: int, kind: int, data: bytes) -> int:
        if ttl < 0:
            ttl = self._ttl if self._ttl >= 0 else self._last_ttl
        if ttl < 0 and kind == rrtype.SOA:
            ttl = int.from_bytes(data[-4:], "big")  # as old files mean it
        if ttl < 0:
            raise ValueError("no time to live: $TTL, or one before the type")
        self._last_ttl = ttl
        return ttl


def _time(text: bytes) -> int:
    value = rrtype.seconds(text)
    if value < 0:
        raise ValueError("%s is no time" % dnsname.printable(text))
    return value
