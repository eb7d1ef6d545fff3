# SPDX-License-Identifier: MIT
"""Packets of MQTT 3.1.1 and 5: bytes in, values out, and back. Knows no sockets and no broker."""

import struct

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14
V5 = 5

# Reason codes of version 5.
MALFORMED, PROTOCOL_ERROR, NOT_AUTHORIZED, BAD_LOGIN, BAD_ID = 0x81, 0x82, 0x87, 0x86, 0x85
BAD_VERSION, SHUTTING_DOWN, KEEP_ALIVE, TAKEN_OVER, BAD_FILTER = 0x84, 0x8B, 0x8D, 0x8E, 0x8F
NOBODY = 0x10  # has subscribed
BAD_TOPIC, TOO_MANY, BAD_ALIAS, TOO_LARGE, BUSY, QUOTA = 0x90, 0x93, 0x94, 0x95, 0x89, 0x97

EXPIRY, SUB_ID, SESSION_EXPIRY, ASSIGNED_ID, SERVER_KEEP_ALIVE, RECEIVE_MAX = 2, 11, 17, 18, 19, 33
WILL_DELAY, REASON, ALIAS_MAX, ALIAS, USER, MAX_PACKET = 24, 31, 34, 35, 38, 39
_BYTES = (1, 23, 25, 36, 37, 40, 41, 42)
_SHORTS = (19, 33, 34, 35)
_LONGS = (2, 17, 24, 39)
_TEXTS = (3, 8, 18, 21, 26, 28, 31)
_BINARIES = (9, 22)
_PASSED_ON = (1, 3, 8, 9, USER)  # of a message, to its subscribers

# Flags that a packet's first byte must have; PUBLISH has its own.
_FLAGS = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}


class PacketError(Exception):
    """What no packet is; `code` is a reason code of version 5."""

    def __init__(self, text: str, code: int = MALFORMED) -> None:
        super().__init__(text)
        self.code = code


class Splitter:
    """Cuts what arrives into packets."""

    def __init__(self, largest: int) -> None:
        self.largest = largest  # bytes of a packet behind its length
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self._data += data

    def next(self) -> tuple | None:
        """(first byte, body), or None: there is no whole one. Raises PacketError."""
        data = self._data
        if data and data[0] >> 4 != PUBLISH and data[0] & 15 != _FLAGS.get(data[0] >> 4, 0):
            raise PacketError("wrong flags")  # at once: what is no MQTT may have no end
        size, shift, at = 0, 0, 1
        while True:
            if at >= len(data):
                return None
            size |= (data[at] & 0x7F) << shift
            at += 1
            if not data[at - 1] & 0x80:
                break
            shift += 7
            if at > 4:
                raise PacketError("a length of more than four bytes")
        if size > self.largest:
            raise PacketError("a packet of %d bytes" % size, TOO_LARGE)
        if len(data) < at + size:
            return None
        first, body = data[0], bytes(memoryview(data)[at : at + size])
        self._data = data[at + size :]
        return first, body


class Reader:
    """Takes values off a packet's body. Raises PacketError for what is not there."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def left(self) -> int:
        return len(self.body) - self.at

    def take(self, size: int) -> bytes:
        at = self.at
        if at + size > len(self.body):
            raise PacketError("a packet that ends too early")
        self.at = at + size
        return self.body[at : at + size]

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def long(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def binary(self) -> bytes:
        return self.take(self.short())

    def text(self) -> bytes:
        """UTF-8 without NUL, kept as bytes."""
        data = self.binary()
        try:
            data.decode()
        except UnicodeError:
            raise PacketError("text that is no UTF-8")
        if b"\0" in data:
            raise PacketError("text with a NUL")
        return data

    def number(self) -> int:
        """A variable byte integer."""
        value = shift = 0
        for _ in range(4):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7
        raise PacketError("a number of more than four bytes")

    def packet_id(self) -> int:
        number = self.short()
        if not number:
            raise PacketError("packet id 0", PROTOCOL_ERROR)
        return number

    def properties(self) -> dict:
        """id -> value; of USER a list of pairs, of SUB_ID a list."""
        end = self.number() + self.at
        found: dict = {}
        while self.at < end:
            key = self.byte()
            value: object
            if key in _BYTES:
                value = self.byte()
            elif key in _SHORTS:
                value = self.short()
            elif key in _LONGS:
                value = self.long()
            elif key in _TEXTS:
                value = self.text()
            elif key in _BINARIES:
                value = self.binary()
            elif key == SUB_ID:
                found.setdefault(SUB_ID, []).append(self.number())
                continue
            elif key == USER:
                found.setdefault(USER, []).append((self.text(), self.text()))
                continue
            else:
                raise PacketError("property %d" % key)
            if key in found:
                raise PacketError("property %d twice" % key, PROTOCOL_ERROR)
            found[key] = value
        if self.at != end:
            raise PacketError("properties that end too late")
        return found


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def properties(values: dict) -> bytes:
    out = bytearray()
    for key, value in values.items():
        if key in _BYTES:
            out += struct.pack(">BB", key, value)
        elif key in _SHORTS:
            out += struct.pack(">BH", key, value)
        elif key in _LONGS:
            out += struct.pack(">BI", key, value)
        elif key == SUB_ID:
            for each in value:
                out += bytes((SUB_ID,)) + _number(each)
        elif key == USER:
            for name, said in value:
                out += bytes((USER,)) + text(name) + text(said)
        else:
            out += bytes((key,)) + text(value)
    return _number(len(out)) + out


def passed_on(values: dict) -> dict:
    """What subscribers see of a message's properties."""
    return {key: value for key, value in values.items() if key in _PASSED_ON}


def packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _number(len(body)) + body


def answer(kind: int, number: int, version: int, code: int = 0) -> bytes:
    """PUBACK, PUBREC, PUBREL, PUBCOMP."""
    first = kind << 4 | _FLAGS.get(kind, 0)
    if version == V5 and code:
        return struct.pack(">BBHB", first, 3, number, code)
    return struct.pack(">BBH", first, 2, number)


def publish(message: object, version: int, qos: int, number: int, flags: int, left: int | None) -> bytes:
    """flags: RETAIN 1, DUP 8; left: seconds until the message expires."""
    body = text(message.topic)
    if qos:
        body += struct.pack(">H", number)
    if version == V5:
        values = message.properties
        if left is not None:
            values = dict(values)
            values[EXPIRY] = left
        body += properties(values)
    return packet(PUBLISH << 4 | qos << 1 | flags, body + message.payload)
