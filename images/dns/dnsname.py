# SPDX-License-Identifier: MIT
"""Domain names (RFC 1035, section 3.1) in wire form: bytes, each label behind its length, a zero byte at the end.

Where a name is a key it is in lower case. No length byte looks like a letter, so `bytes.lower()` does that.
"""

ROOT = b"\0"
MAX_NAME = 255  # bytes in wire form
MAX_LABEL = 63

_BACKSLASH = 0x5C
_DOT = 0x2E
_PLAIN = frozenset(b"-_*/0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def unescape(text: bytes, at: int) -> tuple:
    """The byte that the escape at text[at] stands for, and where it ends. Raises ValueError."""
    rest = text[at + 1 : at + 4]
    if rest[:1].isdigit():
        if len(rest) < 3 or not rest.isdigit() or int(rest) > 255:
            raise ValueError("bad escape \\%s" % printable(rest))
        return int(rest), at + 4
    if not rest:
        raise ValueError("a backslash at the end")
    return rest[0], at + 2


def _labels(text: bytes) -> list:
    """The labels of a name that has escapes."""
    labels = []
    label = bytearray()
    at = 0
    while at < len(text):
        byte = text[at]
        if byte == _DOT:
            labels.append(bytes(label))
            label = bytearray()
            at += 1
            continue
        if byte == _BACKSLASH:
            byte, at = unescape(text, at)
        else:
            at += 1
        label.append(byte)
    labels.append(bytes(label))
    return labels


def from_text(text: bytes, origin: bytes | None = None) -> bytes:
    """Wire form in lower case. A name without a dot at its end is below origin. Raises ValueError."""
    if text == b"@" and origin is not None:
        return origin
    if text == b".":
        return ROOT
    labels = _labels(text) if b"\\" in text else text.split(b".")
    if labels[-1] == b"":
        labels.pop()
        origin = ROOT
    if origin is None:
        raise ValueError("%s is relative and there is no origin" % printable(text))
    out = bytearray()
    for label in labels:
        if not label:
            raise ValueError("%s has an empty label" % printable(text))
        if len(label) > MAX_LABEL:
            raise ValueError("%s has a label over 63 bytes" % printable(text))
        out.append(len(label))
        out.extend(label)
    out.extend(origin)
    if len(out) > MAX_NAME:
        raise ValueError("%s has over 255 bytes" % printable(text))
    return bytes(out).lower()


def to_text(name: bytes) -> str:
    """As a zone file has it, with a dot at the end."""
    if name == ROOT:
        return "."
    out = []
    at = 0
    while name[at]:
        for byte in name[at + 1 : at + 1 + name[at]]:
            if byte in _PLAIN:
                out.append(chr(byte))
            elif 0x21 <= byte <= 0x7E:
                out.append("\\" + chr(byte))
            else:
                out.append("\\%03d" % byte)
        out.append(".")
        at += 1 + name[at]
    return "".join(out)


def printable(text: bytes) -> str:
    """For messages: what a zone file or a peer had, whatever bytes these are."""
    return "".join([chr(b) if 0x20 <= b <= 0x7E else "\\%03d" % b for b in text[:80]])


def parent(name: bytes) -> bytes:
    """The name without its first label; not of the root."""
    return name[1 + name[0] :]


def is_below(name: bytes, ancestor: bytes) -> bool:
    """The same name, or one below it."""
    if not name.endswith(ancestor):
        return False
    at = 0
    end = len(name) - len(ancestor)
    while at < end:
        at += 1 + name[at]
    return at == end


def skip(message: bytes, at: int) -> int:
    """Where the uncompressed name at message[at] ends. Raises ValueError, IndexError."""
    start = at
    while True:
        size = message[at]
        at += 1 + size
        if size > MAX_LABEL or at - start > MAX_NAME:
            raise ValueError("bad name")
        if not size:
            return at


def read(message: bytes, at: int) -> tuple:
    """The name at message[at] in lower case, and where it ends there. Follows compression pointers, which may only
    lead backwards. Raises ValueError, IndexError."""
    out = bytearray()
    end = 0
    least = at  # each pointer must lead before what was read since the last one
    while True:
        size = message[at]
        if size >= 0xC0:
            target = (size & 0x3F) << 8 | message[at + 1]
            end = end or at + 2
            if target >= least:
                raise ValueError("compression pointer does not lead backwards")
            at = least = target
            continue
        if size > MAX_LABEL:
            raise ValueError("bad label type")
        if at + 1 + size > len(message):
            raise ValueError("name is cut off")
        out.extend(message[at : at + 1 + size])
        at += 1 + size
        if len(out) > MAX_NAME:
            raise ValueError("name over 255 bytes")
        if not size:
            return bytes(out).lower(), end or at
