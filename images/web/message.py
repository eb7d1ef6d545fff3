# SPDX-License-Identifier: MIT
"""What a handler gets and gives: Request, Response, Prepared, HttpError; and how an answer looks on the wire."""

import json

REASONS = {
    100: "Continue",
    200: "OK",
    201: "Created",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}

_DIGITS = 1000  # that a number in JSON may have; twice as many are refused wherever they begin
_INLINE = 4096  # bytes of a body that Prepared keeps a copy of, to send it with its head in one piece


def parse_json(body: bytes) -> object:
    """Raises HttpError 400; also for a number of 2,000 digits: reading one takes the square of them."""
    try:
        seen = quotes = 0
        for at in range(0, len(body) - _DIGITS, _DIGITS):
            if body[at : at + _DIGITS].isdigit():
                before = body[seen:at].replace(b"\\\\", b"")
                quotes += before.count(b'"') - before.count(b'\\"')
                if not quotes & 1:  # it is in no string
                    raise ValueError
                seen = at
        # MicroPython takes an array or object whose end is missing: then there is no second item.
        values = json.loads("[" + str(body, "utf-8") + ",0]")
    except ValueError:
        values = ()
    if len(values) != 2:
        raise HttpError(400, "the body is not JSON")
    return values[0]


class Request:
    """One request. body: all of it, at most Limits.body bytes; an Inflow if the handler asked for that."""

    def __init__(self, head: object, body: object, peer: str = "") -> None:
        self.head = head
        self.method = head.method
        self.path = head.path  # percent-decoded
        self.body = body
        self.peer = peer  # address of the client

    def field(self, name: bytes) -> bytes:
        """A header field by its lower-case name; empty if absent."""
        return self.head.fields.get(name, b"")

    def json(self) -> object:
        """The body as JSON. Raises HttpError 415 or 400."""
        if self.field(b"content-type").partition(b";")[0].strip().lower() != b"application/json":
            raise HttpError(415, "the body must be application/json")
        return parse_json(bytes(self.body))


class Response:
    """An answer. body: bytes-like and not changed later; fields: (name, value) pairs of bytes."""

    def __init__(self, status: int, body: bytes = b"", kind: bytes = b"", fields: tuple = ()) -> None:
        self.status = status
        self.body = body
        self.fields = ((b"Content-Type", kind),) + fields if kind else fields  # noqa: RUF005 - no (*x, y) here

    def head(self, closing: str, date: bytes) -> bytes:
        """Status line and header. closing: "", "close" or "keep-alive"; date: a whole Date line or nothing."""
        out = ("HTTP/1.1 %d %s\r\n" % (self.status, REASONS.get(self.status, "Status"))).encode() + date
        for name, value in self.fields:
            out += name + b": " + value + b"\r\n"
        if self.status >= 200 and self.status not in (204, 304):
            out += self.framing()
        if closing:
            out += b"Connection: " + closing.encode() + b"\r\n"
        return out + b"\r\n"

    def framing(self) -> bytes:
        """The header line that says where the body ends."""
        return b"Content-Length: %d\r\n" % len(self.body)

    def has_body(self, method: str) -> bool:
        return method != "HEAD" and len(self.body) > 0

    def size(self, method: str) -> int:
        """Bytes of the body that is sent, as far as they are known."""
        return len(self.body) if method != "HEAD" else 0


class Streamed(Response):
    """An answer whose body comes piece by piece from a source, which is asked when the client has taken the last one.

    source.read() gives the next piece (bytes-like), b"" at the end, or None if it has none yet; then it calls
    source.wake(), which is set before. source.close() is called once, also if the client goes before the end.
    length: bytes; -1: not known.
    """

    def __init__(self, status: int, source: object, length: int = -1, kind: bytes = b"", fields: tuple = ()) -> None:
        super().__init__(status, b"", kind, fields)
        self.source = source
        self.length = length
        self.chunked = False  # said by the connection

    def framing(self) -> bytes:
        if self.length >= 0:
            return b"Content-Length: %d\r\n" % self.length
        return b"Transfer-Encoding: chunked\r\n" if self.chunked else b""

    def size(self, method: str) -> int:
        return max(0, self.length) if method != "HEAD" else 0

    def has_body(self, method: str) -> bool:
        return method != "HEAD" and self.length != 0 and self.status not in (204, 304)


class Pending:
    """What a handler returns that answers later, without a task: it calls answer(), once."""

    connection: object = None
    head: object = None

    def answer(self, response: Response) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.answered(self.head, response)

    def cancel(self) -> None:
        """The client has gone: no answer is wanted."""


class Prepared(Response):
    """An answer that is the same for every request with the same head: found again without a handler.

    alike: and for all that differ only in query, cookies, and what else modules/http/httpkey.c does not name.
    """

    alike = False
    is_remembered = False  # hits are counted by Server.fold()
    site = ""  # which host's

    def __init__(self, method: str, status: int, body: bytes, kind: bytes, fields: tuple) -> None:
        super().__init__(status, body, kind, fields)
        self.method = method
        self.hits = 0  # requests that got it from memory
        self.wire = b""  # the answer to send; without the body when that is large
        self.tail: bytes | None = body if method != "HEAD" and len(body) > _INLINE else None
        self.date: bytes | None = None  # the Date line in wire

    def stamp(self, date: bytes) -> None:
        """Make wire, with this Date line. Without memory for all of it, it is as before: to be made."""
        wire = self.head("", date)
        if self.tail is None and self.has_body(self.method):
            wire += self.body
        self.wire = wire
        self.date = date


def json_response(value: object, status: int = 200, fields: tuple = ()) -> Response:
    return Response(status, (json.dumps(value) + "\n").encode(), b"application/json", fields)


class HttpError(Exception):
    """A request to be answered with an error. fields: further header (name, value) pairs of bytes."""

    def __init__(self, status: int, detail: str = "", fields: tuple = ()) -> None:
        self.status = status
        self.detail = detail
        self.fields = fields

    def answer(self) -> Response:
        text = "%d %s\n" % (self.status, self.detail or REASONS.get(self.status, ""))
        return Response(self.status, text.encode(), b"text/plain; charset=utf-8", self.fields)


_DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()  # noqa: SIM905 - smaller so, as in other lists of words
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905


def http_date(now: tuple) -> bytes:
    """A date (RFC 9110, section 5.6.7) of time.gmtime(); always the same length."""
    year, month, day, hour, minute, second, weekday = now[:7]
    text = "%s, %02d %s %04d " % (_DAYS[weekday], day, MONTHS[month - 1], year)
    return (text + "%02d:%02d:%02d GMT" % (hour, minute, second)).encode()


def date_line(now: tuple) -> bytes:
    """The header line of it."""
    return b"Date: " + http_date(now) + b"\r\n"
