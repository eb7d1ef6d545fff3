# SPDX-License-Identifier: MIT
"""Conditions and ranges of a request for a file (RFC 9110, sections 13 and 14)."""

from message import MONTHS, HttpError, Request

_MOST_RANGES = 16
NOTHING, UNCHANGED, FAILED = range(3)


def evaluate(request: Request, etag: bytes, modified: tuple | None) -> int:
    """What the conditions of a GET or HEAD come to, in the order of section 13.2.2.

    modified: (year, month, day, hour, minute, second). UNCHANGED: 304; FAILED: 412."""
    fields = request.head.fields
    field = fields.get(b"if-match")
    if field is not None:
        if field != b"*" and etag not in _tags(field):
            return FAILED
    else:
        field = fields.get(b"if-unmodified-since")
        since = parse_date(field) if field else None
        if since is not None and modified is not None and modified > since:
            return FAILED
    field = fields.get(b"if-none-match")
    if field is not None:
        tags = _tags(field)
        return UNCHANGED if field == b"*" or etag in tags or b"W/" + etag in tags else NOTHING
    field = fields.get(b"if-modified-since")
    since = parse_date(field) if field else None
    return UNCHANGED if since is not None and modified is not None and modified <= since else NOTHING


def _tags(field: bytes) -> list:
    """Of a list of entity tags; a comma may be inside of one."""
    tags = []
    rest = field
    while rest:
        start = rest.find(b'"')
        end = rest.find(b'"', start + 1)
        if start < 0 or end < 0:
            break
        weak = rest[max(0, start - 2) : start] == b"W/"
        tags.append((b"W/" if weak else b"") + rest[start : end + 1])
        rest = rest[end + 1 :]
    return tags


def parse_date(field: bytes) -> tuple | None:
    """A date of HTTP in any of its three forms (section 5.6.7). None: it is none."""
    if max(field) > 0x7E:
        return None
    words = str(field, "utf-8").replace(",", " ").replace("-", " ").split()
    if len(words) == 5:  # asctime: Sun Nov  6 08:49:37 1994
        words = [words[0], words[2], words[1], words[4], words[3], "GMT"]
    if len(words) != 6 or words[5] != "GMT" or words[2] not in MONTHS:
        return None
    clock = words[4].split(":")
    if len(clock) != 3 or not (words[1] + words[3] + "".join(clock)).isdigit():
        return None
    year = int(words[3])
    if len(words[3]) == 2:
        year += 2000 if year < 70 else 1900
    day = int(words[1])
    hour, minute, second = [int(part) for part in clock]
    if not (1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    return year, MONTHS.index(words[2]) + 1, day, hour, minute, second


def ranges_of(request: Request, size: int, etag: bytes, modified: tuple | None) -> list | None:
    """(first, last) of each part that is asked for. None: all of it. Raises HttpError 416."""
    field = request.field(b"range")
    if field[:6].lower() != b"bytes=" or request.method != "GET":
        return None
    condition = request.field(b"if-range")
    if condition and condition != etag and (modified is None or parse_date(condition) != modified):
        return None
    spans = []
    words = field[6:].split(b",")
    if len(words) > _MOST_RANGES:
        return None
    for word in words:
        word = word.strip(b" \t")
        if not word and len(words) > 1:
            continue
        span = _span(word, size)
        if span is None:
            return None
        if span[0] < size:
            spans.append(span)
    if not spans:
        raise HttpError(416, "", ((b"Content-Range", b"bytes */%d" % size),))
    return spans


def _span(word: bytes, size: int) -> tuple | None:
    """None: no range. What begins at `size` is not there."""
    first, dash, last = word.partition(b"-")
    if not dash or not (first or last) or not (first + last).isdigit() or len(word) > 32:
        return None
    if not first:
        count = int(last)
        return (max(0, size - count), size - 1) if count else (size, size)
    start = int(first)
    if last and int(last) < start:
        return None
    return min(start, size), min(size - 1, int(last)) if last else size - 1
