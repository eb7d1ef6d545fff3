# SPDX-License-Identifier: MIT
"""What an upstream answers, read strictly (RFC 9112): who is in doubt about where an answer ends must not pass it on.

Takes bytes and gives values; sockets are others'.
"""

from http1 import Body, check_name, check_text, names
from inflow import Raw
from message import HttpError

MAX_HEAD = 16384  # bytes
_MAX_FIELDS = 100
_NO_LIMIT = 1 << 48
# For one connection only (RFC 9110, section 7.6.1), or of use here.
_READ = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length date".split()
)


def bad(what: str) -> HttpError:
    """What came is no answer, or has no end that is beyond doubt."""
    return HttpError(502, what)


class Answer:
    """A parsed answer head. fields: (name as sent, value) pairs that may be passed on."""

    def __init__(self, status: int, reason: bytes) -> None:
        self.status = status
        self.reason = reason
        self.fields: list = []
        self.length = -2  # bytes of the body; -1: chunked; -2: until the connection ends
        self.keep = True  # the connection may be used again
        self.dated = False
        self.bare = False  # has no body, whatever its fields say
        self.upgrade = b""


def _status_line(line: bytes) -> tuple:
    """Minor version, status, reason."""
    version, _, rest = line.partition(b" ")
    code, _, reason = rest.partition(b" ")
    if len(version) != 8 or version[:7] != b"HTTP/1." or not version[7:].isdigit():
        raise bad("bad version")
    if len(code) != 3 or not code.isdigit() or not 100 <= int(code) <= 599:
        raise bad("bad status")
    check_text(reason)
    return int(version[7:]), int(code), reason


def _split(lines: list) -> list:
    """(name in lower case, name, value) of each line."""
    if len(lines) > _MAX_FIELDS:
        raise bad("too many fields")
    found = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not name or not colon:
            raise bad("bad field")
        low = names.get(name) or check_name(name)
        value = value.strip(b" \t")
        check_text(value)
        found.append((low, name, value))
    return found


def parse_answer(raw: bytes, method: str) -> Answer:
    """Parse an answer's head, given without its last empty line. Raises HttpError."""
    lines = raw.split(b"\r\n")
    breaks = len(lines) - 1
    if raw.count(b"\n") != breaks or raw.count(b"\r") != breaks:
        raise bad("bad line ending")
    minor, status, reason = _status_line(lines[0])
    answer = Answer(status, reason)
    length = coding = None
    options: list = []
    fields = _split(lines[1:])
    for low, name, value in fields:
        if low not in _READ:
            answer.fields.append((name, value))
        elif low == b"content-length":
            if not value.isdigit() or len(value) > 15 or (length is not None and length != int(value)):
                raise bad("bad Content-Length")
            length = int(value)
        elif low == b"transfer-encoding":
            if coding is not None or value.lower() != b"chunked" or minor == 0:
                raise bad("bad Transfer-Encoding")
            coding = value
        elif low == b"connection":
            options += [word.strip() for word in value.lower().split(b",")]
        elif low == b"date":
            answer.dated = True
            answer.fields.append((name, value))
        elif low == b"upgrade":
            answer.upgrade = value
    answer.keep = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    if options:
        answer.fields = [pair for pair in answer.fields if pair[0].lower() not in options]
    if coding is not None and (length is not None or status < 200 or status == 204):
        raise bad("contradicting framing")
    _frame(answer, method, length, coding is not None)
    return answer


def _frame(answer: Answer, method: str, length: object, chunked: bool) -> None:
    status = answer.status
    if status < 200 or status == 204:
        answer.length = 0
        answer.bare = True
    elif method == "HEAD" or status == 304:
        answer.length = 0
        answer.bare = True
        if length is not None:  # of the body that is left out
            answer.fields.append((b"Content-Length", b"%d" % length))
    elif chunked:
        answer.length = -1
    elif length is not None:
        answer.length = length
    else:
        answer.keep = False


class Content:
    """An answer's body as it arrives: feed() and end() say how far it is, take() gives what there is."""

    def __init__(self, length: int) -> None:
        self._body = Raw() if length == -2 else Body(length, _NO_LIMIT)
        self._until_end = length == -2
        self._rest = b""  # of a chunk line that is not whole

    def __len__(self) -> int:
        return len(self._body.data)

    def feed(self, data: bytes) -> tuple:
        """Returns (whether it is complete, what was sent beyond it). Raises HttpError."""
        done, rest = self._body.feed(self._rest + data if self._rest else data)
        self._rest = b"" if done else rest
        return done, rest if done else b""

    def end(self) -> bool:
        """The connection has ended. Returns whether the body has, too."""
        return self._until_end

    def take(self) -> bytes:
        piece = self._body.data
        self._body.data = bytearray()
        return piece
