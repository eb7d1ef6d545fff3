# SPDX-License-Identifier: MIT
"""Messages of DHCP (RFC 2131, 2132): taken apart, and answers made. No sockets."""

import struct

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = 1, 2, 3, 4, 5, 6, 7, 8
NAMES = ("", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform")
# Options.
MASK, ROUTER, DNS, HOST, DOMAIN, MTU, NTP = 1, 3, 6, 12, 15, 26, 42
WANTED, LEASE, OVERLOAD, TYPE, SERVER, LIST, TEXT, MOST, RENEW, REBIND, CLIENT = (
    50,
    51,
    52,
    53,
    54,
    55,
    56,
    57,
    58,
    59,
    61,
)
AGENT, SEARCH, ROUTES = 82, 119, 121

_HEAD = 236
_COOKIE = b"\x63\x82\x53\x63"
_LEAST = 300  # bytes of a message: BOOTP relays want as many
_USUAL = 576 - 28  # that anybody takes, without the headers of IP and UDP
_BROADCAST = 0x8000
_FIRST = (TYPE, SERVER, LEASE, AGENT, CLIENT, TEXT)  # what an answer cannot be without, whatever was asked for


class FormatError(ValueError):
    """The message is not one."""


class Message:
    """A request of a client. Raises FormatError."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEAD + 4 or data[_HEAD : _HEAD + 4] != _COOKIE:
            raise FormatError("no DHCP")
        op, self.htype, hlen, self.hops, self.xid, _, self.flags = struct.unpack_from(">BBBBIHH", data, 0)
        if op != 1 or not 1 <= hlen <= 16:
            raise FormatError("no request")
        self.ciaddr, _, _, self.giaddr = struct.unpack_from(">IIII", data, 12)
        self.hardware = data[28 : 28 + hlen]
        self.options: dict = {}
        _options(data, _HEAD + 4, len(data), self.options)
        overload = self.options.get(OVERLOAD, b"\0")[:1]
        if overload in (b"\1", b"\3"):
            _options(data, 108, _HEAD, self.options)
        if overload in (b"\2", b"\3"):
            _options(data, 44, 108, self.options)
        kind = self.options.get(TYPE, b"")
        if len(kind) != 1 or not DISCOVER <= kind[0] <= INFORM:
            raise FormatError("no type")
        self.kind = kind[0]
        self.wanted = self._address(WANTED)
        self.server = self._address(SERVER)
        client = self.options.get(CLIENT)
        if client and len(client) > 255:
            raise FormatError("a client identifier of several options")
        # By what a lease is known (RFC 2131, 4.2): the identifier, or the hardware address.
        self.key = b"i" + client if client else b"m" + bytes((self.htype,)) + self.hardware

    def _address(self, code: int) -> int | None:
        value = self.options.get(code)
        if value is None:
            return None
        if len(value) != 4:
            raise FormatError("option %d is no address" % code)
        return int.from_bytes(value, "big")

    def is_broadcast(self) -> bool:
        return bool(self.flags & _BROADCAST)

    def host(self) -> str:
        """The name that the client gives itself, if it can be a label of DNS; else nothing."""
        return label(self.options.get(HOST, b""))


def label(name: bytes) -> str:
    name = name.rstrip(b"\0").split(b".")[0].lower()
    if not 1 <= len(name) <= 63 or name[:1] == b"-" or name[-1:] == b"-":
        return ""
    for byte in name:
        if not (0x61 <= byte <= 0x7A or 0x30 <= byte <= 0x39 or byte == 0x2D):
            return ""
    return name.decode()


def _options(data: bytes, at: int, end: int, found: dict) -> None:
    """Those of a field; one that comes again goes on (RFC 3396)."""
    while at < end and data[at] != 255:
        code = data[at]
        at += 1
        if code:
            if at >= end or at + 1 + data[at] > end:
                raise FormatError("option %d is cut off" % code)
            found[code] = found.get(code, b"") + data[at + 1 : at + 1 + data[at]]
            at += 1 + data[at]


def answer(message: Message, kind: int, own: tuple, options: dict) -> bytes:
    """own: the client's address (0: none) and the server's. options: code -> bytes; of those that nobody has to have,
    the client gets what it asked for."""
    flags = message.flags
    if kind == NAK and message.giaddr:
        flags |= _BROADCAST
    ciaddr = message.ciaddr if kind == ACK else 0
    head = struct.pack(
        ">BBBBIHHIIII",
        2,
        message.htype,
        len(message.hardware),
        0,
        message.xid,
        0,
        flags,
        ciaddr,
        own[0],
        0,
        message.giaddr,
    )
    options = dict(options)
    options[TYPE] = bytes((kind,))
    options[SERVER] = own[1].to_bytes(4, "big")
    for code in (CLIENT, AGENT):  # RFC 6842, RFC 3046
        if code in message.options:
            options[code] = message.options[code]
    most = message.options.get(MOST, b"")
    room = max(_USUAL, min(int.from_bytes(most, "big") - 28, 1472) if len(most) == 2 else 0) - _HEAD - 5
    parts = []
    for code in _order(message, options):
        part = _encoded(code, options[code])
        if len(part) <= room:
            room -= len(part)
            parts.append(part)
    data = b"".join((head, message.hardware, bytes(208 - len(message.hardware)), _COOKIE, b"".join(parts), b"\xff"))
    return data + bytes(max(0, _LEAST - len(data)))


def _order(message: Message, options: dict) -> list:
    """Codes of the options to send."""
    codes = [code for code in _FIRST if code in options]
    asked = message.options.get(LIST)
    if asked is None:
        return codes + sorted([code for code in options if code not in codes])
    for code in bytes((MASK, RENEW, REBIND)) + asked:
        if code in options and code not in codes:
            codes.append(code)
    return codes


def _encoded(code: int, value: bytes) -> bytes:
    """An option; a long one in pieces (RFC 3396)."""
    out = b""
    while True:
        piece, value = value[:255], value[255:]
        out += bytes((code, len(piece))) + piece
        if not value:
            return out
