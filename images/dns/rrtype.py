# SPDX-License-Identifier: MIT
"""Types of resource records: their numbers, and how each one's data stands in a zone file and on the wire.

The data of a record is bytes in wire form without compression, names in lower case.
"""

import binascii
import struct

import dnsname

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DNAME, OPT, DS = 1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41, 43
TSIG, IXFR, AXFR, ANY = 250, 251, 252, 255
HINFO = 13

# Fields of the data, in their order: n name, b h w numbers of 8, 16 and 32 bits, t time in seconds, s string,
# S one or more strings, g a tag, v the rest as one string without length, a 6 addresses, x hexadecimal, B base64.
FORMATS = {
    "A": (A, "a"),
    "NS": (NS, "n"),
    "CNAME": (CNAME, "n"),
    "SOA": (SOA, "nnwtttt"),
    "PTR": (PTR, "n"),
    "HINFO": (HINFO, "ss"),
    "MX": (MX, "hn"),
    "TXT": (TXT, "S"),
    "RP": (17, "nn"),
    "AFSDB": (18, "hn"),
    "AAAA": (AAAA, "6"),
    "SRV": (SRV, "hhhn"),
    "NAPTR": (35, "hhsssn"),
    "DNAME": (DNAME, "n"),
    "DS": (DS, "hbbx"),
    "SSHFP": (44, "bbx"),
    "DNSKEY": (48, "hbbB"),
    "TLSA": (52, "bbbx"),
    "SMIMEA": (53, "bbbx"),
    "CDS": (59, "hbbx"),
    "CDNSKEY": (60, "hbbB"),
    "OPENPGPKEY": (61, "B"),
    "SPF": (99, "S"),
    "CAA": (257, "bgv"),
}

# Where names begin that may be compressed (RFC 3597, section 4: only those of RFC 1035), and how many follow.
COMPRESSED = {NS: (0, 1), CNAME: (0, 1), SOA: (0, 2), PTR: (0, 1), MX: (2, 1)}
# The same for types whose names are only ever read: some senders compress them all the same.
_READ = {17: (0, 2), 18: (2, 1), SRV: (6, 1), DNAME: (0, 1)}
_READ.update(COMPRESSED)

_UNITS = {0x73: 1, 0x6D: 60, 0x68: 3600, 0x64: 86400, 0x77: 604800}
_LIMITS = {"b": 0xFF, "h": 0xFFFF, "w": 0xFFFFFFFF}
MAX_TTL = 0x7FFFFFFF  # RFC 2181, section 8


def number_of(text: bytes) -> int:
    """The number of a type by its name. -1: no such type."""
    name = dnsname.printable(text).upper()
    known = FORMATS.get(name)
    if known is not None:
        return known[0]
    if name.startswith("TYPE") and name[4:].isdigit() and int(name[4:]) <= 0xFFFF:
        return int(name[4:])
    return -1


def name_of(number: int) -> str:
    for name, known in FORMATS.items():
        if known[0] == number:
            return name
    return "TYPE%d" % number


def seconds(text: bytes) -> int:
    """A time: a number of seconds, or with units, as 1h30m. -1: it is none."""
    if text.isdigit():
        return int(text) if int(text) <= MAX_TTL else -1
    total = 0
    digits = b""
    for byte in text.lower():
        if 0x30 <= byte <= 0x39:
            digits += bytes([byte])
        elif digits and byte in _UNITS:
            total += int(digits) * _UNITS[byte]
            digits = b""
        else:
            return -1
    return total if text and not digits and total <= MAX_TTL else -1


def _number(kind: str, text: bytes) -> int:
    if not text.isdigit() or int(text) > _LIMITS[kind]:
        raise ValueError("%s is no number from 0 to %d" % (dnsname.printable(text), _LIMITS[kind]))
    return int(text)


def ip4(text: bytes) -> bytes:
    parts = text.split(b".")
    if len(parts) != 4:
        raise ValueError("%s is no IPv4 address" % dnsname.printable(text))
    for part in parts:
        if not part.isdigit() or int(part) > 255 or len(part) > 3:
            raise ValueError("%s is no IPv4 address" % dnsname.printable(text))
    return bytes([int(part) for part in parts])


def _groups(text: bytes) -> bytes:
    """Some groups of an IPv6 address, the last perhaps as an IPv4 one."""
    out = b""
    parts = text.split(b":") if text else []
    for i, part in enumerate(parts):
        if b"." in part and i == len(parts) - 1:
            out += ip4(part)
        else:
            if not 1 <= len(part) <= 4:
                raise ValueError("bad group")
            out += struct.pack(">H", int(part, 16))
    return out


def ip6(text: bytes) -> bytes:
    try:
        head, gap, tail = text.partition(b"::")
        left, right = _groups(head), _groups(tail)
        room = 16 - len(left) - len(right)
        if (gap and room >= 2) or (not gap and room == 0):
            return left + bytes(room) + right
    except ValueError:
        pass
    raise ValueError("%s is no IPv6 address" % dnsname.printable(text))


def string(text: bytes) -> bytes:
    """A character string of a zone file without its quotes: escapes resolved."""
    if b"\\" not in text:
        return text
    out = bytearray()
    at = 0
    while at < len(text):
        if text[at] == 0x5C:
            byte, at = dnsname.unescape(text, at)
        else:
            byte = text[at]
            at += 1
        out.append(byte)
    return bytes(out)


def _counted(text: bytes) -> bytes:
    value = string(text)
    if len(value) > 255:
        raise ValueError("a string over 255 bytes")
    return bytes([len(value)]) + value


def _tag(text: bytes) -> bytes:
    if not 1 <= len(text) <= 255 or not (text.replace(b"-", b"").isalpha() or text.isalpha()):
        raise ValueError("%s is no tag" % dnsname.printable(text))
    return bytes([len(text)]) + text


def _hexadecimal(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise ValueError("%s is not hexadecimal" % dnsname.printable(text))


def _base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except ValueError:
        raise ValueError("%s is not base64" % dnsname.printable(text))


def _field(kind: str, text: bytes, origin: bytes) -> bytes:
    if kind == "n":
        return dnsname.from_text(text, origin)
    if kind == "a":
        return ip4(text)
    if kind == "6":
        return ip6(text)
    if kind == "b":
        return bytes([_number(kind, text)])
    if kind == "h":
        return struct.pack(">H", _number(kind, text))
    if kind == "w":
        return struct.pack(">I", _number(kind, text))
    if kind == "t":
        value = seconds(text)
        if value < 0:
            raise ValueError("%s is no time" % dnsname.printable(text))
        return struct.pack(">I", value)
    return {"s": _counted, "g": _tag, "v": string}[kind](text)


def from_text(rtype: int, words: list, origin: bytes) -> bytes:
    """The data of a record. words: those of the zone file, without quotes. Raises ValueError."""
    if words and words[0] == b"\\#":
        return _unknown(rtype, words[1:])
    name = name_of(rtype)
    known = FORMATS.get(name)
    if known is None:
        raise ValueError("data of %s is written as \\# LENGTH HEX" % name)
    out = b""
    fields = known[1]
    for i, kind in enumerate(fields):
        if kind in "xBS":
            if not words[i:]:
                raise ValueError("%s lacks data" % name)
            if kind == "S":
                return out + b"".join([_counted(word) for word in words[i:]])
            rest = b"".join(words[i:])
            return out + (_hexadecimal(rest) if kind == "x" else _base64(rest))
        if i >= len(words):
            raise ValueError("%s has %d fields, here are %d" % (name, len(fields), len(words)))
        out += _field(kind, words[i], origin)
    if len(words) > len(fields):
        raise ValueError("%s has %d fields, here are %d" % (name, len(fields), len(words)))
    return out


def _unknown(rtype: int, words: list) -> bytes:
    """RFC 3597, section 5."""
    if not words or not words[0].isdigit():
        raise ValueError("\\# is followed by a length")
    data = _hexadecimal(b"".join(words[1:]))
    if len(data) != int(words[0]):
        raise ValueError("\\# says %s bytes, here are %d" % (dnsname.printable(words[0]), len(data)))
    try:
        return from_wire(rtype, data, 0, len(data))
    except (ValueError, IndexError):
        raise ValueError("no data of a %s" % name_of(rtype))


def from_wire(rtype: int, message: bytes, at: int, size: int) -> bytes:
    """The data of a record in a message, without compression. Raises ValueError, IndexError."""
    end = at + size
    if end > len(message):
        raise ValueError("data is cut off")
    if (rtype == A and size != 4) or (rtype == AAAA and size != 16):
        raise ValueError("bad address")
    if rtype not in _READ:
        return message[at:end]
    skipped, names = _READ[rtype]
    out = message[at : at + skipped]
    at += skipped
    for _ in range(names):
        name, at = dnsname.read(message, at)
        out += name
    if at > end or (rtype == SOA and at + 20 != end) or (rtype != SOA and at != end):
        raise ValueError("bad data")
    return out + message[at:end]
