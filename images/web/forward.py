# SPDX-License-Identifier: MIT
"""A request as the proxy sends it on, written anew from what was parsed, and the head of the answer to it.

Header fields that hold for one connection only stay behind (RFC 9110, section 7.6.1); who asked is told
(X-Forwarded-*, Forwarded of RFC 7239, Via).
"""

from http1 import unquote
from message import REASONS, HttpError, Response, Streamed

# For one connection only, or written anew.
_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authorization te trailer transfer-encoding upgrade content-length "
    b"host via forwarded x-forwarded-for x-forwarded-host x-forwarded-proto".split()
)


def wants_tunnel(head: object) -> bool:
    """A WebSocket handshake (RFC 6455, section 4.1). Other protocols are not changed to: some smuggle requests."""
    fields = head.fields
    if head.method != "GET" or head.minor == 0 or head.length or fields.get(b"upgrade", b"").lower() != b"websocket":
        return False
    return b"upgrade" in [word.strip() for word in fields.get(b"connection", b"").lower().split(b",")]


def _quoted(host: bytes) -> bytes:
    """A host as the value of a parameter: what stands in one, but in no token, are these."""
    for char in b"():;,=[]":
        if char in host:
            return b'"%s"' % host
    return host


def target_of(head: object, strip: bytes) -> bytes:
    """The target in origin form. Raises HttpError for one whose path means another to who resolves its dots."""
    if head.path == "*":
        return b"*"
    target = head.target
    if target[:1] != b"/":
        _, _, target = target.partition(b"://")
        cut = len(target.partition(b"/")[0].partition(b"?")[0])
        target = target[cut:]
        if target[:1] != b"/":
            target = b"/" + target
    path = head.path.replace("\\", "/") + "/"
    if "/../" in path or "/./" in path:
        raise HttpError(400, "dots in the path")
    return _stripped(target, strip) if strip else target


def _stripped(target: bytes, strip: bytes) -> bytes:
    """Without the beginning, however the client has percent-encoded it: the route was found by the decoded path."""
    at = 0
    for char in unquote(strip):
        size = 3 if target[at : at + 1] == b"%" else 1
        if unquote(target[at : at + size]) != bytes((char,)):
            return target
        at += size
    rest = target[at:]
    if rest[:3].lower() == b"%2f":
        return b"/" + rest[3:]
    if rest and rest[:1] not in (b"/", b"?"):
        return target
    return rest if rest[:1] == b"/" else b"/" + rest


def request_head(head: object, options: object, secure: bool) -> tuple:
    """What of a request's head is the same for all clients: (up to who asked, from there to the framing)."""
    fields = head.fields
    dropped = [word.strip() for word in fields.get(b"connection", b"").lower().split(b",")]
    asked = fields.get(b"host", b"")
    host = options.host.encode() if options.host else asked or b"upstream"
    out = [head.method.encode() + b" " + target_of(head, options.strip) + b" HTTP/1.1\r\nHost: " + host]
    for name, value in fields.items():
        if name in _HOP or name in dropped or (name == b"expect" and not head.expects):
            continue
        out.append(name + b": " + value)
    if wants_tunnel(head):
        out.append(b"Connection: Upgrade\r\nUpgrade: websocket")
    via = fields.get(b"via")
    out.append((b"Via: %s, 1.%d floe" % (via, head.minor)) if via else b"Via: 1.%d floe" % head.minor)
    scheme = b"https" if secure else b"http"
    trusted = fields if options.trust else {}
    out.append(b"X-Forwarded-Proto: " + trusted.get(b"x-forwarded-proto", scheme))
    named = trusted.get(b"x-forwarded-host", asked)
    if named:
        out.append(b"X-Forwarded-Host: " + named)
    before = trusted.get(b"forwarded")
    out.append(b"Forwarded: %sproto=%s" % (before + b", " if before else b"", scheme))
    chain = trusted.get(b"x-forwarded-for")
    after = b"\r\nX-Forwarded-For: " + (chain + b", " if chain else b"")
    start = b"\r\n".join(out)
    return start + (b";host=" + _quoted(asked) if asked else b"") + b";for=", after


def client_words(peer: str, secure: bool) -> tuple:
    """A client's address as Forwarded has it, as X-Forwarded-For has it, and all that is said of it to an upstream."""
    if peer.startswith("::ffff:") and "." in peer:
        peer = peer[7:]
    text = peer.partition("%")[0].encode() or b"unknown"
    quoted = b'"[%s]"' % text if b":" in text else text
    scheme = b"https" if secure else b"http"
    before = b"Via: 1.1 floe\r\nX-Forwarded-Proto: %s\r\nX-Forwarded-Host: " % scheme
    after = b";for=%s\r\nX-Forwarded-For: %s\r\n\r\n" % (quoted, text)
    return quoted, text, (before, b"\r\nForwarded: proto=%s;host=" % scheme, after)


def _head(answer: object, closing: str, date: bytes, framing: bytes) -> bytes:
    reason = answer.reason or REASONS.get(answer.status, "Status").encode()
    out = [b"HTTP/1.1 %d %s" % (answer.status, reason)]
    for name, value in answer.fields:
        out.append(name + b": " + value)
    if answer.status == 101:
        return b"\r\n".join(out) + b"\r\nUpgrade: " + answer.upgrade + b"\r\nConnection: Upgrade\r\n\r\n"
    if closing:
        out.append(b"Connection: " + closing.encode())
    return b"\r\n".join(out) + b"\r\n" + (b"" if answer.dated else date) + framing + b"\r\n"


class Whole(Response):
    """An upstream's answer all of which is here."""

    def __init__(self, answer: object, body: bytes) -> None:
        super().__init__(answer.status, body)
        self._answer = answer

    def head(self, closing: str, date: bytes) -> bytes:
        return _head(self._answer, closing, date, b"" if self._answer.bare else self.framing())


class Relayed(Streamed):
    """An upstream's answer whose body comes from a source."""

    def __init__(self, answer: object, source: object) -> None:
        super().__init__(answer.status, source, max(-1, answer.length))
        self._answer = answer

    def head(self, closing: str, date: bytes) -> bytes:
        return _head(self._answer, closing, date, self.framing())
