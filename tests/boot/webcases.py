# SPDX-License-Identifier: MIT
"""What a server must make of the bytes of a request: the cases of test_web_conformance.py, by section of the RFCs.

RFC 9110 says what HTTP means, RFC 9112 how HTTP/1.1 looks on the wire. Where a section leaves the choice, the
case says what images/web does: it refuses whatever another reader of the same bytes could take for something else.
"""

from __future__ import annotations

from dataclasses import dataclass

START = b"GET / HTTP/1.1\r\n"
HOST = b"Host: test\r\n"
PLAIN = START + HOST + b"\r\n"
_POST = b"POST / HTTP/1.1\r\n" + HOST  # to a file: 405 once the body has come whole
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """Bytes to send; the answers' statuses in order; whether the connection is closed then, or serves the next."""

    section: str
    name: str
    stream: bytes
    statuses: tuple[int, ...]
    closed: bool
    endless: bool = False  # refused before it is whole, so that nothing can be sent after it


def _line(start: bytes) -> bytes:
    return start + b"\r\n" + HOST + b"\r\n"


def _target(target: bytes, method: bytes = b"GET") -> bytes:
    return _line(method + b" " + target + b" HTTP/1.1")


def _host(value: bytes) -> bytes:
    return START + b"Host:" + value + b"\r\n\r\n"


def _field(line: bytes) -> bytes:
    return START + HOST + line + b"\r\n\r\n"


def _length(lines: bytes, body: bytes = b"") -> bytes:
    return _POST + lines + b"\r\n\r\n" + body


def _coding(value: bytes, body: bytes = b"0\r\n\r\n") -> bytes:
    return _POST + b"Transfer-Encoding:" + value + b"\r\n\r\n" + body


def _kept(section: str, status: int, streams: dict[str, bytes]) -> list[Case]:
    return [Case(section, name, stream, (status,), False) for name, stream in streams.items()]


def _closed(section: str, status: int, streams: dict[str, bytes]) -> list[Case]:
    return [Case(section, name, stream, (status,), True) for name, stream in streams.items()]


def _endless(section: str, status: int, streams: dict[str, bytes]) -> list[Case]:
    return [Case(section, name, stream, (status,), True, True) for name, stream in streams.items()]


_LINES = [
    *_kept("9112 2.2", 200, {"empty line before": b"\r\n" + PLAIN, "empty lines before": b"\r\n\r\n" + PLAIN}),
    *_closed("9112 2.2", 400, {
        "bare line feeds": b"GET / HTTP/1.1\nHost: test\n\n",
        "one bare line feed": START + b"Host: test\nX: y\r\n\r\n",
        "bare line feed after the request line": b"GET / HTTP/1.1\n" + HOST + b"\r\n",
        "line feed before": b"\n" + PLAIN,
        "bare line feed at the end": START + b"Host: test\n\r\n",
        "line feed, carriage return": START + b"Host: test\n\rX: y\r\n\r\n",
        "bare carriage return": START + b"Host: te\rst\r\n\r\n",
        "bare carriage return at the end of a line": START + HOST + b"X: y\r\r\n\r\n",
        "bare carriage return as the end": START + HOST + b"X: y\rZ: z\r\n\r\n",
        "bare carriage return in the request line": b"GET / HTTP/1.1\r" + HOST + b"\r\n",
        "carriage return before": b"\r" + PLAIN,
        "blank before": b" " + PLAIN,
        "blank line after the request line": START + b" \r\n" + HOST + b"\r\n",
        "blank before the first field": START + b" " + HOST + b"\r\n",
        "byte order mark": b"\xef\xbb\xbf" + PLAIN,
    }),
    *_endless("9112 2.2", 400, {
        "line feed that could end the head": b"GET / HTTP/1.1\nHost: test\n",
        "TLS": bytes.fromhex("16030100eb010000e70303"),
        "NUL bytes": b"\0" * 40,
    }),
    *_closed("9112 3", 400, {
        "no version": b"GET /\r\n\r\n",
        "no target": _line(b"GET HTTP/1.1"),
        "only a method": b"GET\r\n\r\n",
        "two blanks": _line(b"GET  / HTTP/1.1"),
        "two blanks before the version": _line(b"GET /  HTTP/1.1"),
        "blank at the end": _line(b"GET / HTTP/1.1 "),
        "tab as a blank": _line(b"GET\t/\tHTTP/1.1"),
        "vertical tab as a blank": _line(b"GET /\x0bHTTP/1.1"),
        "no-break space": _line(b"GET\xa0/ HTTP/1.1"),
        "four words": _line(b"GET / HTTP/1.1 HTTP/1.1"),
    }),
    *_closed("9112 2.3", 400, {
        "lower-case name": _line(b"GET / http/1.1"),
        "version without minor": _line(b"GET / HTTP/1"),
        "version with a blank": _line(b"GET / HTTP/ 1.1"),
        "two digits of minor": _line(b"GET / HTTP/1.10"),
        "leading zero": _line(b"GET / HTTP/01.1"),
        "signed": _line(b"GET / HTTP/+1.1"),
        "hexadecimal": _line(b"GET / HTTP/1.A"),
        "comma": _line(b"GET / HTTP/1,1"),
        "other protocol": _line(b"GET / ICY/1.1"),
        "letter after": _line(b"GET / HTTP/1.1x"),
    }),
    *_closed("9110 15.6.6", 505, {
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/0.9": _line(b"GET / HTTP/0.9"),
        "HTTP/9.9": _line(b"GET / HTTP/9.9"),
    }),
    *_kept("9110 2.5", 200, {"HTTP/1.2": _line(b"GET / HTTP/1.2"), "HTTP/1.9": _line(b"GET / HTTP/1.9")}),
    *_closed("9110 5.6.2", 400, {
        "bad method": _line(b"G@T / HTTP/1.1"),
        "method with a control character": _line(b"GE\x00T / HTTP/1.1"),
        "method with brackets": _line(b"[GET] / HTTP/1.1"),
    }),
    *_closed("9110 9.1", 501, {
        "unknown method": _line(b"BREW / HTTP/1.1"),
        "methods are case-sensitive": _line(b"get / HTTP/1.1"),
        "long method": _line(b"A" * 200 + b" / HTTP/1.1"),
        "method that begins as another": _line(b"GETX / HTTP/1.1"),
    }),
    *_closed("9110 9.3.8", 501, {"TRACE": _target(b"/", b"TRACE")}),
    *_closed("9110 9.3.6", 501, {
        "CONNECT": _target(b"test:80", b"CONNECT"),
        "CONNECT to a path": _target(b"/", b"CONNECT"),
    }),
]  # fmt: skip

_TARGETS = [
    *_kept("9112 3.2.1", 200, {
        "query": _target(b"/?a=b&c=http://d/?e"),
        "query of anything": _target(b"/?a[]={1}|\\^`\"<>"),
        "escaped letters": _target(b"/robots%2Etxt"),
        "several slashes in a query": _target(b"/?//.."),
    }),
    *_kept("9110 15.5.5", 404, {
        "dots": _target(b"/../../etc/passwd"),
        "escaped dots": _target(b"/%2e%2e/%2e%2e/etc/passwd"),
        "backslash": _target(b"/..\\..\\etc"),
        "escaped slash": _target(b"/about%2findex.htm"),
        "escaped UTF-8": _target(b"/%c3%a4%e2%82%ac%f0%9f%98%80"),
        "twice escaped": _target(b"/%252e%252e/"),
        "two slashes": _target(b"//robots.txt"),
    }),
    *_kept("9112 3.2.2", 200, {
        "absolute form": _target(b"http://test/"),
        "absolute form with a port": _target(b"http://test:80/robots.txt"),
        "absolute form without a path": _target(b"http://test"),
        "absolute form with a query only": _target(b"http://test?a=/b"),
        "absolute form, upper-case scheme": _target(b"HTTP://TEST/"),
        "absolute form of another host": _target(b"http://other/"),
    }),
    *_closed("9112 3.2.2", 400, {
        "absolute form without Host": b"GET http://test/ HTTP/1.1\r\n\r\n",
        "no host": _target(b"http:///x"),
        "no host, only a port": _target(b"http://:80/"),
        "userinfo": _target(b"http://user:word@test/"),
        "other scheme": _target(b"ftp://test/"),
        "one slash": _target(b"http:/test/"),
        "no slash": _target(b"http:test"),
        "bad port": _target(b"http://test:8x/"),
    }),
    *_closed("9110 7.4", 421, {"https without TLS": _target(b"https://test/")}),
    *_closed("9112 3.2.3", 400, {"authority form": _target(b"test:80"), "authority alone": _target(b"test")}),
    *_kept("9112 3.2.4", 204, {
        "asterisk": _target(b"*", b"OPTIONS"),
        "options": _target(b"http://test/", b"OPTIONS"),
        "options of a host": _target(b"http://test", b"OPTIONS"),
    }),
    *_closed("9112 3.2.4", 400, {
        "asterisk": _target(b"*"),
        "asterisk and more": _target(b"*/", b"OPTIONS"),
        "asterisk and a query": _target(b"*?a", b"OPTIONS"),
        "HEAD of an asterisk": _target(b"*", b"HEAD"),
    }),
    *_closed("9112 3.2", 400, {
        "relative": _target(b"index.html"),
        "blank": _target(b"/a b"),
        "control character": _target(b"/\x01"),
        "tab": _target(b"/a\tb"),
        "NUL": _target(b"/\0"),
        "DEL": _target(b"/\x7f"),
        "not ASCII": _target(b"/\xc3\xa9"),
        "fragment": _target(b"/#x"),
        "bad escape": _target(b"/%zz"),
        "cut escape": _target(b"/%4"),
        "signed escape": _target(b"/%+4"),
        "escaped NUL": _target(b"/%00"),
        "escaped non-UTF-8": _target(b"/%ff"),
        "escaped overlong slash": _target(b"/%c0%af"),
        "escaped overlong dots": _target(b"/%e0%80%ae%f0%80%80%ae"),
        "escaped surrogate": _target(b"/%ed%a0%80"),
        "escaped code beyond all": _target(b"/%f4%90%80%80"),
    }),
    *_closed("9110 15.5.15", 414, {"target too long": _target(b"/" + b"a" * 3000)}),
    *_endless("9110 15.5.15", 414, {"endless target": b"GET /" + b"a" * 5000}),
]  # fmt: skip

_HOSTS = [
    *_kept("9110 7.2", 200, {
        "name": _host(b" a"),
        "no blank before": _host(b"a"),
        "blanks around": _host(b" \t a \t "),
        "port": _host(b" a:80"),
        "empty port": _host(b" a:"),
        "IPv4": _host(b" 127.0.0.1:8080"),
        "IPv6": _host(b" [::1]"),
        "IPv6 and a port": _host(b" [::1]:80"),
        "all that a name may hold": _host(b" x_y.%41~!$&'()*+,;=-"),
        "lower-case field name": START + b"host: a\r\n\r\n",
        "last of the fields": START + b"X: y\r\n" + HOST + b"\r\n",
        "other host than the target's": b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
    }),
    *_closed("9112 3.2", 400, {
        "no Host": START + b"\r\n",
        "only another field": START + b"X-Host: test\r\n\r\n",
        "two Hosts": START + b"Host: a\r\nHost: b\r\n\r\n",
        "twice the same": START + b"Host: a\r\nhost: a\r\n\r\n",
        "empty": _host(b""),
        "blank": _host(b" "),
        "path": _host(b" a/b"),
        "user": _host(b" a@b"),
        "scheme": _host(b" http://a"),
        "bad port": _host(b" a:80x"),
        "signed port": _host(b" a:-1"),
        "only a port": _host(b" :80"),
        "two ports": _host(b" a:80:80"),
        "list": _host(b" a, b"),
        "blank inside": _host(b" a b"),
        "open bracket": _host(b" [::1"),
        "closed bracket": _host(b" ::1]"),
        "IPv6 without brackets": _host(b" ::1"),
        "text after the bracket": _host(b" [::1]a"),
        "NUL": _host(b" a\0b"),
        "not ASCII": _host(b" \xc3\xa9"),
        "quotes": _host(b' "a"'),
        "backslash": _host(b" a\\b"),
    }),
]  # fmt: skip

_FIELDS = [
    *_kept("9112 5", 200, {
        "blanks around the value": _field(b"X: \t y \t "),
        "empty value": _field(b"X:"),
        "tab in the value": _field(b"X: a\tb"),
        "bytes beyond ASCII": _field(b"X: a\xe4\xff"),
        "every letter of a name": _field(b"!#$%&'*+-.^_`|~09AZaz: y"),
        "repeated field": _field(b"X: y\r\nX: z\r\nx: w"),
        "colons in the value": _field(b"X: a:b: c"),
        "60 fields": _field(b"\r\n".join(b"X%d: y" % n for n in range(60))),
        "long value": _field(b"X: " + b"a" * 7000),
    }),
    *_closed("9112 5.1", 400, {
        "blank before the colon": START + b"Host : test\r\n\r\n",
        "tab before the colon": _field(b"X\t: y"),
        "blank in the name": _field(b"X Y: z"),
        "no colon": _field(b"nonsense"),
        "empty name": _field(b": x"),
        "only a colon": _field(b":"),
        "NUL in the name": _field(b"X\0: y"),
        "not ASCII in the name": _field(b"\xc3\xa9: y"),
        "control character in the name": _field(b"X\x0b: y"),
        "brackets in the name": _field(b"X[]: y"),
        "quoted name": _field(b'"X": y'),
        "slash in the name": _field(b"X/Y: z"),
    }),
    *_closed("9112 5.2", 400, {
        "folded by a blank": _field(b"X: a\r\n b"),
        "folded by a tab": _field(b"X: a\r\n\tb"),
        "folded coding": _POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "folded length": _length(b"Content-Length:\r\n 5", b"hello"),
        "folded to nothing": _field(b"X: a\r\n "),
    }),
    *_closed("9110 5.5", 400, {
        "NUL": _field(b"X: \0"),
        "bell": _field(b"X: a\x07b"),
        "DEL": _field(b"X: \x7f"),
        "vertical tab": _field(b"X: a\x0bb"),
        "form feed": _field(b"X: \x0c"),
        "escape": _field(b"X: \x1b[31m"),
    }),
    *_closed("6585 5", 431, {
        "header too large": _field(b"X: " + b"a" * 9000),
        "name too large": _field(b"a" * 9000 + b": y"),
        "too many fields": _field(b"\r\n".join([b"X: y"] * 100)),
    }),
    *_endless("6585 5", 431, {"endless header": START + HOST + b"X: y\r\n" * 2000}),
]  # fmt: skip

_LENGTHS = [
    *_kept("9110 8.6", 405, {
        "length": _length(b"Content-Length: 5", b"hello"),
        "no body": _length(b"Content-Length: 0"),
        "no length": _POST + b"\r\n",
        "leading zeros": _length(b"Content-Length: 0005", b"hello"),
        "body like a request": _length(b"Content-Length: %d" % len(PLAIN), PLAIN),
        "twice the same": _length(b"Content-Length: 5\r\nContent-Length: 5", b"hello"),
        "blanks around": _length(b"Content-Length: \t5 ", b"hello"),
    }),
    *_kept("9110 9.3.1", 200, {"GET with a body": _field(b"Content-Length: 5") + b"hello"}),
    *_closed("9112 6.3", 400, {
        "negative": _length(b"Content-Length: -1"),
        "signed": _length(b"Content-Length: +5", b"hello"),
        "list of the same": _length(b"Content-Length: 5, 5", b"hello"),
        "list of two": _length(b"Content-Length: 5, 6", b"hello"),
        "two lengths": _length(b"Content-Length: 5\r\nContent-Length: 6", b"hello!"),
        "two spellings": _length(b"Content-Length: 5\r\nContent-Length: 05", b"hello"),
        "second in another case": _length(b"Content-Length: 0\r\ncONTENT-lENGTH: 5", b"hello"),
        "empty": _length(b"Content-Length:"),
        "blank": _length(b"Content-Length:  "),
        "hexadecimal": _length(b"Content-Length: 0x5", b"hello"),
        "letters": _length(b"Content-Length: five", b"hello"),
        "digits and letters": _length(b"Content-Length: 5x", b"hello"),
        "underline": _length(b"Content-Length: 1_0", b"hello"),
        "decimal point": _length(b"Content-Length: 5.0", b"hello"),
        "exponent": _length(b"Content-Length: 5e0", b"hello"),
        "blank between": _length(b"Content-Length: 5 5", b"hello"),
        "quoted": _length(b'Content-Length: "5"', b"hello"),
        "digit beyond ASCII": _length(b"Content-Length: \xb5", b"hello"),
        "64 bits and more": _length(b"Content-Length: 18446744073709551621", b"hello"),
        "NUL after": _length(b"Content-Length: 5\0", b"hello"),
        "vertical tab before": _length(b"Content-Length: \x0b5", b"hello"),
    }),
    *_closed("9110 15.5.14", 413, {
        "body too large": _length(b"Content-Length: 99999999"),
        "2 to the 32": _length(b"Content-Length: 4294967296"),
        "15 digits": _length(b"Content-Length: 999999999999999"),
    }),
    *_kept("9112 6.1", 405, {
        "chunked": _coding(b" chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        "upper case": _coding(b" CHUNKED", b"5\r\nhello\r\n0\r\n\r\n"),
        "blanks around": _coding(b" \t chunked \t", b"5\r\nhello\r\n0\r\n\r\n"),
    }),
    *_closed("9112 6.1", 400, {
        "length and coding": _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "coding and length": _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "length and another coding": _POST + b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello",
        "in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 that stays": b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    }),
    *_closed("9112 6.3", 400, {
        "identity": _coding(b" identity"),
        "chunked is not last": _coding(b" chunked, identity"),
        "chunked is not last, in two lines": _POST
        + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "gzip": _coding(b" gzip"),
        "empty": _coding(b""),
        "x-chunked": _coding(b" x-chunked"),
        "xchunked": _coding(b" xchunked"),
        "chunked and a letter": _coding(b" chunkedx"),
        "two words": _coding(b" chunked chunked"),
        "empty element": _coding(b" chunked,"),
        "quoted": _coding(b' "chunked"'),
        "parameter": _coding(b" chunked;q=1"),
        "vertical tab": _coding(b" \x0bchunked"),
        "vertical tab after": _coding(b" chunked\x0b"),
        "carriage return after": _coding(b" chunked\r"),
        "NUL after": _coding(b" chunked\0"),
        "blank before the colon": _POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "line separator beyond ASCII": _coding(b" chunked\xc2\x85"),
    }),
    *_closed("9112 6.1", 501, {
        "another coding before": _coding(b" gzip, chunked"),
        "in two lines": _POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "chunked twice": _coding(b" chunked, chunked"),
        "twice in two lines": _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "identity before": _coding(b" identity, chunked"),
        "empty element before": _coding(b" , chunked"),
    }),
]  # fmt: skip

_CHUNKS = [
    *_kept("9112 7.1", 405, {
        "no chunk": _CHUNKED + b"0\r\n\r\n",
        "two chunks": _CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
        "either case": _CHUNKED + b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
        "leading zeros": _CHUNKED + b"00000005\r\nhello\r\n000\r\n\r\n",
        "16 digits": _CHUNKED + b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n",
        "data that looks like an end": _CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        "data that looks like a request": _CHUNKED + b"%x\r\n" % len(PLAIN) + PLAIN + b"\r\n0\r\n\r\n",
    }),
    *_closed("9112 7.1", 400, {
        "no hexadecimal digit": _CHUNKED + b"x\r\n",
        "negative": _CHUNKED + b"-1\r\n",
        "signed": _CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
        "prefix": _CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        "underline": _CHUNKED + b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
        "blank before": _CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
        "empty": _CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
        "only an extension": _CHUNKED + b";a\r\nhello\r\n0\r\n\r\n",
        "huge": _CHUNKED + b"f" * 20 + b"\r\n",
        "more than 64 bits": _CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        "text after": _CHUNKED + b"5 5\r\nhello\r\n0\r\n\r\n",
        "decimal point": _CHUNKED + b"5.0\r\nhello\r\n0\r\n\r\n",
        "NUL": _CHUNKED + b"5\0\r\nhello\r\n0\r\n\r\n",
        "vertical tab": _CHUNKED + b"5\x0b\r\nhello\r\n0\r\n\r\n",
        "data too long": _CHUNKED + b"1\r\nxxxx\r\n0\r\n\r\n",
        "data too short": _CHUNKED + b"6\r\nhello\r\n0\r\n\r\n",
        "no line end after the data": _CHUNKED + b"5\r\nhello0\r\n\r\n",
        "other bytes after the data": _CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
        "line feed after the data": _CHUNKED + b"5\r\nhello\n0\r\n\r\n",
        "line feed after the size": _CHUNKED + b"5\nhello\r\n0\r\n\r\n",
        "carriage return after the size": _CHUNKED + b"5\rhello\r\n0\r\n\r\n",
        "line feeds at the end": _CHUNKED + b"0\n\n",
    }),
    *_endless("9112 7.1", 400, {"line feed after the size": _CHUNKED + b"5\nhello"}),
    *_closed("9110 15.5.14", 413, {
        "body too large": _CHUNKED + b"fffff\r\n",
        "32 bits": _CHUNKED + b"100000005\r\nhello\r\n0\r\n\r\n",
        "64 bits": _CHUNKED + b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "too large together": _CHUNKED + b"5\r\nhello\r\nffff\r\n",
    }),
    *_kept("9112 7.1.1", 405, {
        "name": _CHUNKED + b"5;a\r\nhello\r\n0;b\r\n\r\n",
        "value": _CHUNKED + b"5;a=b;c=d\r\nhello\r\n0\r\n\r\n",
        "quoted": _CHUNKED + b'5;a="b;c"\r\nhello\r\n0\r\n\r\n',
        "blanks": _CHUNKED + b"5 ; a = b\r\nhello\r\n0\r\n\r\n",
    }),
    *_closed("9112 7.1.1", 400, {
        "line feed": _CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        "carriage return": _CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        "NUL": _CHUNKED + b"5;\0\r\nhello\r\n0\r\n\r\n",
        "too long": _CHUNKED + b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    }),
    *_endless("9112 7.1.1", 400, {"endless": _CHUNKED + b"1;" + b"x" * 600}),
    *_kept("9112 7.1.2", 405, {
        "trailer": _CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "long trailer": _CHUNKED + b"0\r\nX: " + b"y" * 1000 + b"\r\n\r\n",
        "trailers that may not frame": _CHUNKED + b"0\r\nContent-Length: 99\r\nTransfer-Encoding: gzip\r\n\r\n",
        "trailers that may not route": _CHUNKED + b"0\r\nHost: other\r\nConnection: close\r\n\r\n",
    }),
    *_closed("9112 7.1.2", 400, {
        "line feed": _CHUNKED + b"0\r\nX: y\nZ: z\r\n\r\n",
        "no colon": _CHUNKED + b"0\r\nnonsense\r\n\r\n",
        "blank in the name": _CHUNKED + b"0\r\nX : y\r\n\r\n",
        "folded": _CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n",
        "a request": _CHUNKED + b"0\r\n" + PLAIN,
    }),
    *_endless("6585 5", 431, {"endless trailers": _CHUNKED + b"0\r\n" + b"X: y\r\n" * 2000}),
]  # fmt: skip

_EXPECT = _POST + b"Expect: 100-continue\r\n"
_CONNECTIONS = [
    *_kept("9110 10.1.1", 405, {
        "the body is there": _EXPECT + b"Content-Length: 5\r\n\r\nhello",
        "no body": _EXPECT + b"Content-Length: 0\r\n\r\n",
    }),
    *_closed("9110 10.1.1", 405, {"HTTP/1.0": b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"}),
    *_closed("9110 10.1.1", 413, {"too large": _EXPECT + b"Content-Length: 100000\r\n\r\n"}),
    *_closed("9110 15.5.18", 417, {"another": _field(b"Expect: magic"), "two": _field(b"Expect: 100-continue, magic")}),
    *_kept("9112 9.3", 200, {
        "HTTP/1.1": PLAIN,
        "keep-alive": _field(b"Connection: keep-alive"),
        "another option": _field(b"Connection: x, keep-alive"),
        "close in another word": _field(b"Connection: closed, x-close"),
        "HTTP/1.0, keep-alive": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.0, Keep-Alive in a list": b"GET / HTTP/1.0\r\nConnection: x ,\tKeep-Alive\r\n\r\n",
        "upgrade": _field(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
    }),
    *_closed("9112 9.6", 200, {
        "close": _field(b"Connection: close"),
        "upper case": _field(b"Connection: CLOSE"),
        "in a list": _field(b"Connection: x,close ,y"),
        "in a second line": _field(b"Connection: keep-alive\r\nConnection: close"),
        "both": _field(b"Connection: close, keep-alive"),
        "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
        "HTTP/1.0 with Host": b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
        "HTTP/1.0, both": b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
        "HTTP/1.0, Proxy-Connection": b"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n",
    }),
    *_kept("9110 9.3.2", 200, {"HEAD": _target(b"/", b"HEAD")}),
    *_kept("9110 9.3.2", 404, {"HEAD of nothing": _target(b"/nothing", b"HEAD")}),
    *_kept("9110 15.4.5", 304, {"any": _field(b"If-None-Match: *")}),
    *_kept("9110 14.2", 206, {"range": _field(b"Range: bytes=0-3")}),
    *_kept("9110 15.5.17", 416, {"range beyond the end": _field(b"Range: bytes=9999999-")}),
    *_closed("9110 9.3.2", 400, {
        "refused HEAD": b"HEAD / HTTP/1.1\r\n\r\n",
        "HEAD with a bad body": _CHUNKED.replace(b"POST", b"HEAD") + b"x\r\n",
    }),
    *_closed("9110 9.3.2", 414, {"HEAD of too much": _target(b"/" + b"a" * 3000, b"HEAD")}),
    Case("9112 9.3.2", "pipelined", PLAIN * 3 + _length(b"Content-Length: 5", b"hello") + PLAIN, (200,) * 3 + (405, 200), False),
    Case("9112 9.3.2", "errors in between", _target(b"/nothing") + _POST + b"\r\n" + PLAIN, (404, 405, 200), False),
    Case("9112 9.3.2", "a bad one ends it", PLAIN + _target(b"/nothing") + _line(b"GET /") + PLAIN, (200, 404, 400), True),
    Case("9112 9.3.2", "close ends it", PLAIN + _field(b"Connection: close") + PLAIN, (200, 200), True),
    Case("9112 9.3.2", "HEAD and others", _target(b"/", b"HEAD") * 2 + PLAIN + _target(b"*", b"OPTIONS"), (200, 200, 200, 204), False),
    Case("9112 9.3.2", "no body, bodies", _field(b"If-None-Match: *") + _CHUNKED + b"1\r\nx\r\n0\r\n\r\n\r\n" + PLAIN, (304, 405, 200), False),
]  # fmt: skip

CASES = _LINES + _TARGETS + _HOSTS + _FIELDS + _LENGTHS + _CHUNKS + _CONNECTIONS
