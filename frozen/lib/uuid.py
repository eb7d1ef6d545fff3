# SPDX-License-Identifier: MIT
# CPython's uuid: RFC 4122's identifiers, random (4) or made from names (3, 5). A VM's own is machine.unique_id().

import binascii
import os

RESERVED_NCS, RFC_4122, RESERVED_MICROSOFT, RESERVED_FUTURE = (
    "reserved for NCS compatibility", "specified in RFC 4122", "reserved for Microsoft compatibility",
    "reserved for future definition",
)  # fmt: skip
_FIELDS = ((96, 32), (80, 16), (64, 16), (56, 8), (48, 8), (0, 48))  # shift and bits


class UUID:
    def __init__(self, hex=None, bytes=None, bytes_le=None, fields=None, int=None, version=None):
        if sum(given is not None for given in (hex, bytes, bytes_le, fields, int)) != 1:
            raise TypeError("one of the hex, bytes, bytes_le, fields, or int arguments must be given")
        if hex is not None:
            digits = hex.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "")
            if len(digits) != 32:
                raise ValueError("badly formed hexadecimal UUID string")
            bytes = binascii.unhexlify(digits)
        elif bytes_le is not None:
            if len(bytes_le) != 16:
                raise ValueError("bytes_le is not a 16-char string")
            bytes = _swapped(bytes_le)
        elif fields is not None:
            int = _joined(fields)
        if bytes is not None:
            if len(bytes) != 16:
                raise ValueError("bytes is not a 16-char string")
            int = _number(bytes)
        if not 0 <= int < 1 << 128:
            raise ValueError("int is out of range (need a 128-bit value)")
        if version is not None:
            if not 1 <= version <= 5:
                raise ValueError("illegal version number")
            int = int & ~(0xC000 << 48) | 0x8000 << 48
            int = int & ~(0xF000 << 64) | version << 76
        self.int = int

    @property
    def bytes(self):
        return self.int.to_bytes(16, "big")

    @property
    def bytes_le(self):
        return _swapped(self.bytes)

    @property
    def hex(self):
        return "%032x" % self.int

    @property
    def fields(self):
        return tuple(self.int >> shift & (1 << bits) - 1 for shift, bits in _FIELDS)

    time_low = property(lambda self: self.fields[0])
    time_mid = property(lambda self: self.fields[1])
    time_hi_version = property(lambda self: self.fields[2])
    clock_seq_hi_variant = property(lambda self: self.fields[3])
    clock_seq_low = property(lambda self: self.fields[4])
    node = property(lambda self: self.fields[5])

    @property
    def urn(self):
        return "urn:uuid:" + str(self)

    @property
    def variant(self):
        top = self.int >> 61 & 7
        return (
            (RESERVED_FUTURE if top == 7 else RESERVED_MICROSOFT)
            if top >= 6
            else RFC_4122
            if top >= 4
            else RESERVED_NCS
        )

    @property
    def version(self):
        return self.int >> 76 & 15 if self.variant == RFC_4122 else None

    def __str__(self):
        h = self.hex
        return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))

    def __repr__(self):
        return "UUID(%r)" % str(self)

    def __hash__(self):
        return hash(self.int)

    def __eq__(self, other):
        return isinstance(other, UUID) and self.int == other.int

    def __lt__(self, other):
        return self.int < other.int if isinstance(other, UUID) else NotImplemented

    def __le__(self, other):
        return self.int <= other.int if isinstance(other, UUID) else NotImplemented

    def __gt__(self, other):
        return self.int > other.int if isinstance(other, UUID) else NotImplemented

    def __ge__(self, other):
        return self.int >= other.int if isinstance(other, UUID) else NotImplemented

    def __int__(self):
        return self.int


def _number(raw):
    return int.from_bytes(raw, "big")


def _swapped(raw):
    """The first three fields in the other order of bytes."""
    return bytes(raw[i] for i in (3, 2, 1, 0, 5, 4, 7, 6)) + raw[8:]


def _joined(fields):
    if len(fields) != 6:
        raise ValueError("fields is not a 6-tuple")
    n = 0
    for number, (value, (shift, bits)) in enumerate(zip(fields, _FIELDS)):
        if not 0 <= value < 1 << bits:
            raise ValueError("field %d out of range (need a %d-bit value)" % (number + 1, bits))
        n |= value << shift
    return n


def uuid4():
    return UUID(bytes=os.urandom(16), version=4)


def _of_name(digest, namespace, name, version):
    name = name.encode() if isinstance(name, str) else name
    return UUID(bytes=digest(namespace.bytes + name).digest()[:16], version=version)


def uuid3(namespace, name):
    from hashlib import md5

    return _of_name(md5, namespace, name, 3)


def uuid5(namespace, name):
    from hashlib import sha1

    return _of_name(sha1, namespace, name, 5)


NAMESPACE_DNS = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
NAMESPACE_URL = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
NAMESPACE_OID = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
NAMESPACE_X500 = UUID("6ba7b814-9dad-11d1-80b4-00c04fd430c8")
