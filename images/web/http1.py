# SPDX-License-Identifier: MIT
"""HTTP/1.1 on the wire (RFC 9112): request heads and bodies as they arrive. No sockets, no routing.

Everything that arrives is bytes and stays bytes, except the path, which is percent-decoded UTF-8.
A request that may not be served raises HttpError with the status to answer; when the framing itself is
in doubt the caller must also close, because what follows on the connection cannot be trusted.
"""

from message import HttpError

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

MAX_TARGET = 2048  # bytes of a request target
MAX_HEAD = 8192  # bytes of a request head, and of a chunked body's trailers
MAX_FIELDS = 64  # header lines
_MAX_NAMES = 64  # of fields, remembered
_NAME_SIZE = 40  # bytes of the longest one
MAX_CHUNK_LINE = 256  # bytes of a chunk-size line with its extensions

_TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_HOST = frozenset(b"-._~!$&'()*+,;=%:[]0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

names: dict = {}  # names of fields as sent -> in lower case


class Head:
    """One parsed request head; never changed after parse_head(), so it may be kept and used again."""

    def __init__(self, method: str, path: str, query: bytes, minor: int, fields: dict) -> None:
        self.method = method
        self.path = path  # percent-decoded, starts with "/" ("*" for OPTIONS *)
        self.query = query  # as sent, without "?"
        self.minor = minor  # 0 or 1: HTTP/1.minor
        self.fields = fields  # lower-case name -> value, repeated ones joined with ", "
        self.length = 0  # bytes of the body; -1: chunked
        self.keep_alive = True
        self.site: object = None  # the host that answers it
        self.target = b""  # as sent
        self.forward: object = None  # what a proxy makes of it
        self.expects = False  # waits for "100 Continue" before it sends the body


def unquote(raw: bytes) -> bytes:
    """Percent-decode. A '%' without two hexadecimal digits raises HttpError 400."""
    pieces = raw.split(b"%")
    if len(pieces) == 1:
        return raw
    out = bytearray(pieces[0])
    for piece in pieces[1:]:
        if len(piece) < 2 or piece[0] not in _HEX or piece[1] not in _HEX:
            raise HttpError(400, "bad percent-encoding")
        out.append(int(piece[:2], 16))
        out.extend(piece[2:])
    return bytes(out)


def check_text(text: bytes) -> None:
    """Refuse control characters, but for the tab: other parsers end a line at some of them."""
    if text and (min(text) < 0x20 or b"\x7f" in text):
        for char in text:
            if char != 9 and (char < 0x20 or char == 0x7F):
                raise HttpError(400, "control character in the header")


def _check_host(host: bytes) -> None:
    """Refuse what is no host with an optional port (RFC 9110, section 7.2): others would read it in another way."""
    name, bracket, port = host.rpartition(b"]")
    if bracket:
        good = name[:1] == b"[" and b"[" not in name[1:] and b"]" not in name and b":" in name
        colon = port[:1]
        port = port[1:]
        good = good and (colon == b":" or not (colon or port))
    else:
        name, _, port = host.partition(b":")
        good = name != b"" and b"[" not in name
    if port and not port.isdigit():
        good = False
    for char in host:
        good = good and char in _HOST
    if not good:
        raise HttpError(400, "bad Host header field")


def _parse_target(method: str, target: bytes, secure: bool) -> tuple:
    """Path, query, and the host if it is named, of a target in origin, absolute or asterisk form (RFC 9112, 3.2)."""
    if min(target) < 0x21 or max(target) > 0x7E or b"#" in target:
        raise HttpError(400, "bad character in the request target")
    host = b""
    if target[0] != 0x2F:
        if target == b"*" and method == "OPTIONS":
            return "*", b"", host
        scheme, _, target = target.partition(b"://")
        scheme = scheme.lower()
        if scheme not in (b"http", b"https"):
            raise HttpError(400, "bad request target")
        if scheme == b"https" and not secure:
            raise HttpError(421, "https needs a TLS connection")
        host = target.partition(b"/")[0].partition(b"?")[0]
        _check_host(host)
        target = target[len(host) :]
        if not target and method == "OPTIONS":  # RFC 9112, section 3.2.4
            return "*", b"", host
        if target[:1] != b"/":
            target = b"/" + target
    path, _, query = target.partition(b"?")
    path = unquote(path)
    if b"\0" in path:
        raise HttpError(400, "bad path")
    return _decode(path), query, host


def _decode(path: bytes) -> str:
    """UTF-8, without the overlong forms and surrogates that MicroPython takes as well: others would see other names."""
    try:
        text = str(path, "utf-8")
        if len(text) != len(path):
            again = "".join([chr(ord(char)) for char in text if not 0xD800 <= ord(char) < 0xE000])
            if again.encode() != path:
                text = ""
    except ValueError:
        text = ""
    if not text:
        raise HttpError(400, "the path is not UTF-8")
    return text


def check_name(given: bytes) -> bytes:
    """A field's name in lower case; remembered, as names are few and come again with each request."""
    name = given.lower()
    for char in name:  # also refuses a folded line and a blank before the colon
        if char not in _TCHAR:
            raise HttpError(400, "bad header name")
    if len(given) <= _NAME_SIZE:
        if len(names) >= _MAX_NAMES:
            names.clear()
        names[given] = name
    return name


def _parse_fields(lines: list) -> dict:
    if len(lines) > MAX_FIELDS:
        raise HttpError(431, "too many header fields")
    fields: dict = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not name or not colon:
            raise HttpError(400, "bad header line")
        name = names.get(name) or check_name(name)
        value = value.strip(b" \t")
        check_text(value)
        if name in fields:
            if name == b"host" or (name == b"content-length" and fields[name] != value):
                raise HttpError(400, "contradicting header fields")
            if name != b"content-length":
                value = fields[name] + (b"; " if name == b"cookie" else b", ") + value
        fields[name] = value
    return fields


def _parse_framing(head: Head) -> None:
    """How long the body is and what becomes of the connection (RFC 9112, sections 6 and 9)."""
    fields = head.fields
    length = fields.get(b"content-length")
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or head.minor == 0:
            raise HttpError(400, "ambiguous body length")
        coding = coding.lower()
        if coding.rpartition(b",")[2].strip() != b"chunked":  # the body has no end that can be seen
            raise HttpError(400, "the last transfer coding is not chunked")
        if coding != b"chunked":
            raise HttpError(501, "transfer coding not supported")
        head.length = -1
    elif length is not None:
        if not length.isdigit() or len(length) > 15:
            raise HttpError(400, "bad Content-Length")
        head.length = int(length)
    options = fields.get(b"connection", b"").lower()
    if options:
        words = [word.strip() for word in options.split(b",")]
        head.keep_alive = b"close" not in words and (head.minor == 1 or b"keep-alive" in words)
    else:
        head.keep_alive = head.minor == 1
    expect = fields.get(b"expect")
    if expect is not None and head.minor == 1:
        if expect.lower() != b"100-continue":
            raise HttpError(417, "unknown expectation")
        head.expects = head.length != 0


def parse_head(raw: bytes, secure: bool = False) -> Head:
    """Parse a request head given without its last empty line. secure: it came over TLS. Raises HttpError."""
    lines = raw.split(b"\r\n")
    breaks = len(lines) - 1
    if raw.count(b"\n") != breaks or raw.count(b"\r") != breaks or b"\0" in raw:
        raise HttpError(400, "bad line ending")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or not parts[0] or not parts[1]:
        raise HttpError(400, "bad request line")
    if len(parts[1]) > MAX_TARGET:
        raise HttpError(414, "the request target is too long")
    version = parts[2]
    digits = version[5:6] + version[7:]
    if len(version) != 8 or version[:5] != b"HTTP/" or version[6:7] != b"." or not digits.isdigit():
        raise HttpError(400, "bad protocol version")
    if version[5:6] != b"1":
        raise HttpError(505, "this server speaks HTTP/1.1")
    for char in parts[0].lower():
        if char not in _TCHAR:
            raise HttpError(400, "bad method")
    method = str(parts[0], "utf-8")
    if method not in METHODS:
        raise HttpError(501, "method not implemented")
    path, query, host = _parse_target(method, parts[1], secure)
    head = Head(method, path, query, min(1, int(version[7:])), _parse_fields(lines[1:]))
    head.target = parts[1]
    if b"host" in head.fields:
        _check_host(head.fields[b"host"])
    elif head.minor == 1:
        raise HttpError(400, "no Host header field")
    if host:  # RFC 9112, section 3.2.2: what Host says does not count then
        head.fields[b"host"] = host
    _parse_framing(head)
    return head


def check_unfinished(buf: bytes) -> None:
    """An unfinished request head: raise HttpError if it can never be served."""
    line = buf.find(b"\r\n")
    if line > MAX_TARGET + 32 or (line < 0 and len(buf) > MAX_TARGET + 32):
        raise HttpError(414)
    if len(buf) > MAX_HEAD:
        raise HttpError(431)
    # A line feed alone would end the head for others; and what is no text, as TLS, is no head that is yet to end.
    if buf.count(b"\n") != buf.count(b"\r\n") or (b"" < buf[:1] < b"!" and buf[:1] != b"\r"):
        raise HttpError(400, "bad line ending")


class Body:
    """Collects one request body, at most limit bytes. feed() says how far it came."""

    def __init__(self, length: int, limit: int) -> None:
        if length > limit:
            raise HttpError(413, "the body is longer than %d bytes" % limit)
        self.data = bytearray()
        self._limit = limit
        self._left = length  # of the body, or of the current chunk with its CRLF; -1: a chunk-size line is next
        self._chunked = length < 0
        self._trailer = -1  # bytes of trailers seen; -1: not there yet

    def feed(self, buf: bytes) -> tuple:
        """Take what belongs to the body. Returns (whether it is complete, the bytes left over)."""
        if not self._chunked:
            self.data.extend(buf[: self._left])
            rest = buf[self._left :]
            self._left -= len(buf) - len(rest)
            return self._left == 0, rest
        done = False
        pos = 0
        while not done:
            used, done = self._chunk_step(buf, pos)
            if used < 0:
                break
            pos += used
        return done, buf[pos:]

    def _chunk_step(self, buf: bytes, pos: int) -> tuple:
        """One chunk-size line, piece of chunk data or trailer line: (bytes used or -1 for "more", complete)."""
        if self._left >= 0:
            return self._chunk_data(buf, pos), False
        end = buf.find(b"\r\n", pos)
        if end < 0:
            self._check_rest(buf, pos)
            return -1, False
        line = buf[pos:end]
        if self._trailer >= 0:
            self._trailer += len(line) + 2
            if self._trailer > MAX_HEAD:
                raise HttpError(431, "trailers too long")
            if line:
                _parse_fields([line])
            return len(line) + 2, not line
        check_text(line)
        digits = line.partition(b";")[0].rstrip(b" \t")
        if not 0 < len(digits) <= 16 or len(line) > MAX_CHUNK_LINE:
            raise HttpError(400, "bad chunk size")
        for char in digits:
            if char not in _HEX:
                raise HttpError(400, "bad chunk size")
        size = int(digits, 16)
        if len(self.data) + size > self._limit:
            raise HttpError(413, "the body is longer than %d bytes" % self._limit)
        if size == 0:
            self._trailer = 0
        else:
            self._left = size + 2
        return len(line) + 2, False

    def _check_rest(self, buf: bytes, pos: int) -> None:
        """Refuse a line without its end if that can never come."""
        if buf.find(b"\n", pos) >= 0:
            raise HttpError(400, "bad line ending")
        if len(buf) - pos > (MAX_CHUNK_LINE if self._trailer < 0 else MAX_HEAD):
            raise HttpError(400, "chunk line too long")

    def _chunk_data(self, buf: bytes, pos: int) -> int:
        if self._left > 2:
            piece = buf[pos : pos + self._left - 2]
            if not piece:
                return -1
            self.data.extend(piece)
            self._left -= len(piece)
            return len(piece)
        end = buf[pos : pos + 2]
        if not b"\r\n".startswith(end):
            raise HttpError(400, "chunk data too long")
        if len(end) < 2:
            return -1
        self._left = -1
        return 2
