# SPDX-License-Identifier: MIT
"""SCAN and its likes.

A scan goes over a list of the keys that were there when it began, so that each one that is there all the time is told.
A cursor names the list and the place in it; a scan whose list had to go for others begins again.
"""

from keyspace import TYPES
from number import format_float, parse_integer
from pattern import matches
from resp import CommandError, bulk, bulks, syntax_error
from sortedset import SortedSet

_LISTS = 16
_PLACES = 1 << 32


class Scans:
    """The lists of scans that go on."""

    def __init__(self) -> None:
        self._lists: dict = {}  # number -> keys
        self._last = 0

    def begin(self, keys: list) -> int:
        """Returns the cursor of its begin."""
        self._last += 1
        self._lists[self._last] = keys
        if len(self._lists) > _LISTS:
            del self._lists[min(self._lists)]
        return self._last * _PLACES

    def next(self, cursor: int, count: int, make: object) -> tuple:
        """(next cursor or 0, keys). make(): the keys, for a cursor whose list is gone."""
        number, at = divmod(cursor, _PLACES)
        keys = self._lists.get(number)
        if keys is None:
            cursor = self.begin(make())
            number, at = divmod(cursor, _PLACES)
            keys = self._lists[number]
        if at + count < len(keys):
            return cursor + count, keys[at : at + count]
        self._lists.pop(number, None)
        return 0, keys[at:]


def _options(args: list, at: int) -> tuple:
    """(pattern or None, count, type or None). Raises CommandError."""
    wanted, count, kind = None, 10, None
    while at < len(args):
        word = args[at].upper()
        if at + 1 == len(args):
            raise syntax_error()
        if word == b"COUNT":
            count = parse_integer(args[at + 1])
            if count < 1:
                raise syntax_error()
        elif word == b"MATCH":
            wanted = args[at + 1]
        elif word == b"TYPE" and args[0].lower() == b"scan":
            kind = args[at + 1].lower()
        else:
            raise syntax_error()
        at += 2
    return wanted, count, kind


def _cursor(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise CommandError("ERR invalid cursor")
    return int(text)


def scan(client: object, args: list) -> bytes:
    cursor = _cursor(args[1])
    wanted, count, kind = _options(args, 2)
    db = client.db
    scans = client.server.scans
    if not cursor:
        keys = db.live_keys()
        cursor = scans.begin(keys) if len(keys) > count else 0
    if cursor:
        cursor, keys = scans.next(cursor, count, db.live_keys)
    found = []
    for key in keys:
        value = db.get(key)
        if value is None or (kind is not None and TYPES[type(value)] != kind):
            continue
        if wanted is None or matches(wanted, key):
            found.append(key)
    return b"*2\r\n" + bulk(b"%d" % cursor) + bulks(found)


_KINDS = {b"hscan": dict, b"sscan": set, b"zscan": SortedSet}


def scan_value(client: object, args: list) -> bytes:
    """HSCAN, SSCAN, ZSCAN."""
    cursor = _cursor(args[2])
    kind = _KINDS[args[0].lower()]
    values = client.db.typed(args[1], kind)
    wanted, count, _ = _options(args, 3)
    if values is None:
        return b"*2\r\n" + bulk(b"0") + b"*0\r\n"
    there = values.scores if kind is SortedSet else values
    if not cursor:
        names = list(there)
        cursor = client.server.scans.begin(names) if len(names) > max(count, 128) else 0
    if cursor:
        cursor, names = client.server.scans.next(cursor, count, lambda: list(there))
    found: list = []
    for name in names:
        if name not in there or not (wanted is None or matches(wanted, name)):
            continue
        found.append(name)
        if kind is dict:
            found.append(there[name])
        elif kind is SortedSet:
            found.append(format_float(there[name]))
    return b"*2\r\n" + bulk(b"%d" % cursor) + bulks(found)


COMMANDS = {
    "scan": (scan, -2, ""),
    "hscan": (scan_value, -3, ""),
    "sscan": (scan_value, -3, ""),
    "zscan": (scan_value, -3, ""),
}
