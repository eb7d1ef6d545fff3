# SPDX-License-Identifier: MIT
# CPython's base64: base 64, 32, 16 and 85, over the C module binascii. What is no encoding raises ValueError, which
# CPython's binascii.Error is too.

import binascii

_B32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_B32HEX = b"0123456789ABCDEFGHIJKLMNOPQRSTUV"
_B64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_A85 = bytes(range(33, 118))
_LINE = 57  # bytes in a line of 76 characters


def _given(data):
    """What is to be encoded: bytes, of whatever kind."""
    if isinstance(data, str):
        raise TypeError("a bytes-like object is required, not 'str'")
    return bytes(memoryview(data))


def _text(data):
    """What is to be decoded: bytes, or a string of ASCII."""
    if isinstance(data, str):
        data = data.encode()
        if any(c > 127 for c in data):
            raise ValueError("string argument should contain only ASCII characters")
    return _given(data)


def _swap(data, old, new):
    if len(old) != len(new):
        raise ValueError("two characters are wanted")
    table = bytearray(range(256))
    for a, b in zip(old, new):
        table[a] = b
    return bytes(table[c] for c in data)


def b64encode(s, altchars=None):
    encoded = binascii.b2a_base64(_given(s), newline=False)
    return encoded if altchars is None else _swap(encoded, b"+/", _text(altchars))


def b64decode(s, altchars=None, validate=False):
    s = _text(s)
    if altchars is not None:
        s = _swap(s, _text(altchars), b"+/")
    if validate:
        digits = s.rstrip(b"=")
        if len(s) % 4 or len(s) - len(digits) > 2 or any(c not in _B64 for c in digits):
            raise ValueError("not base 64")
    return _groups_of_four(s)


def _groups_of_four(s):
    """As CPython reads it: what is no digit is skipped, and a group that ends in padding ends it all."""
    digits = bytearray()
    pads = 0
    for c in s:
        if c == 61:
            pads += 1
            if len(digits) % 4 >= 2 and len(digits) % 4 + pads >= 4:
                break
        elif c in _B64:
            pads = 0
            digits.append(c)
    left = len(digits) % 4
    if left == 1:
        raise ValueError("Invalid base64-encoded string: 1 more than a multiple of 4 data characters")
    if left and left + pads < 4:
        raise ValueError("Incorrect padding")
    return binascii.a2b_base64(bytes(digits) + b"==="[: (4 - left) % 4])


def standard_b64encode(s):
    return b64encode(s)


def standard_b64decode(s):
    return b64decode(s)


def urlsafe_b64encode(s):
    return b64encode(s, b"-_")


def urlsafe_b64decode(s):
    return b64decode(s, b"-_")


def encodebytes(s):
    s = _given(s)
    return b"".join(binascii.b2a_base64(s[i : i + _LINE]) for i in range(0, len(s), _LINE))


def decodebytes(s):
    return _groups_of_four(_given(s))


def encode(input, output):
    """From one binary file to another."""
    while piece := input.read(_LINE):
        while len(piece) < _LINE and (more := input.read(_LINE - len(piece))):
            piece += more
        output.write(binascii.b2a_base64(piece))


def decode(input, output):
    while line := input.readline():
        output.write(_groups_of_four(line))


def b16encode(s):
    return binascii.hexlify(_given(s)).upper()


def b16decode(s, casefold=False):
    s = _text(s)
    digits = b"0123456789ABCDEFabcdef" if casefold else b"0123456789ABCDEF"
    if any(c not in digits for c in s):
        raise ValueError("Non-base16 digit found")
    return binascii.unhexlify(s)


def _encode32(s, alphabet):
    s = _given(s)
    out = bytearray()
    for i in range(0, len(s), 5):
        piece = s[i : i + 5]
        n = int.from_bytes(piece + bytes(5 - len(piece)), "big")
        digits = (len(piece) * 8 + 4) // 5
        out.extend(bytes(alphabet[n >> 35 - 5 * k & 31] if k < digits else 61 for k in range(8)))
    return bytes(out)


def _decode32(s, alphabet, casefold, map01=None):
    s = _text(s)
    if len(s) % 8:
        raise ValueError("Incorrect padding")
    if map01 is not None:
        s = _swap(s, b"01", b"O" + _text(map01))
    if casefold:
        s = s.upper()
    digits = s.rstrip(b"=")
    pads = len(s) - len(digits)
    if pads not in (0, 1, 3, 4, 6):
        raise ValueError("Incorrect padding")
    out = bytearray()
    for i in range(0, len(digits), 8):
        n = 0
        group = digits[i : i + 8]
        for c in group:
            digit = alphabet.find(bytes((c,)))
            if digit < 0:
                raise ValueError("Non-base32 digit found")
            n = n << 5 | digit
        n <<= 5 * (8 - len(group))
        out.extend(n.to_bytes(5, "big")[: len(group) * 5 // 8])
    return bytes(out)


def b32encode(s):
    return _encode32(s, _B32)


def b32decode(s, casefold=False, map01=None):
    return _decode32(s, _B32, casefold, map01)


def b32hexencode(s):
    return _encode32(s, _B32HEX)


def b32hexdecode(s, casefold=False):
    return _decode32(s, _B32HEX, casefold)


def _encode85(s, alphabet, pad, short=None):
    """short: digits for four bytes that have a digit of their own."""
    missing = -len(s) % 4
    s += bytes(missing)
    out = bytearray()
    for i in range(0, len(s), 4):
        n = int.from_bytes(s[i : i + 4], "big")
        last = i + 4 >= len(s) and missing and not pad
        if short and n in short and not last:
            out.append(short[n])
            continue
        digits = bytearray(5)
        for k in range(4, -1, -1):
            n, digit = divmod(n, 85)
            digits[k] = alphabet[digit]
        out.extend(digits[: 5 - missing] if last else digits)
    return bytes(out)


def b85encode(b, pad=False):
    return _encode85(_given(b), _B85, pad)


def a85encode(b, *, foldspaces=False, wrapcol=0, pad=False, adobe=False):
    short = {0: ord("z")}
    if foldspaces:
        short[0x20202020] = ord("y")
    out = (b"<~" if adobe else b"") + _encode85(_given(b), _A85, pad, short)
    if wrapcol:
        wrapcol = max(2 if adobe else 1, wrapcol)
        lines = [out[i : i + wrapcol] for i in range(0, len(out), wrapcol)]
        if adobe and lines and len(lines[-1]) + 2 > wrapcol:
            lines.append(b"")
        out = b"\n".join(lines)
    return out + (b"~>" if adobe else b"")


def _decode85(digits, missing):
    """Digits as numbers, or bytes that stand for themselves; the last group lacks some."""
    out = bytearray()
    n = 0
    held = 0
    for d in digits:
        if isinstance(d, bytes):
            if held:
                raise ValueError("a short form inside Ascii85 group")
            out.extend(d)
            continue
        n = n * 85 + d
        held += 1
        if held == 5:
            if n > 0xFFFFFFFF:
                raise ValueError("base85 overflow")
            out.extend(n.to_bytes(4, "big"))
            n = held = 0
    return bytes(out[: len(out) - missing]) if missing else bytes(out)


def b85decode(b):
    b = _text(b)
    missing = -len(b) % 5
    digits = [_B85.find(bytes((c,))) for c in b + b"~" * missing]
    if -1 in digits:
        raise ValueError("bad base85 character at position %d" % digits.index(-1))
    return _decode85(digits, missing)


def a85decode(b, *, foldspaces=False, adobe=False, ignorechars=b" \t\n\r\x0b"):
    b = _text(b)
    if adobe:
        if not b.endswith(b"~>"):
            raise ValueError("Ascii85 encoded byte sequences must end with b'~>'")
        b = b[2:-2] if b.startswith(b"<~") else b[:-2]
    digits = []
    held = 0
    for c in b:
        if 33 <= c <= 117:
            digits.append(c - 33)
            held += 1
        elif c == 122:
            digits.append(bytes(4))
        elif foldspaces and c == 121:
            digits.append(b"    ")
        elif c not in ignorechars:
            raise ValueError("Non-Ascii85 digit found: " + chr(c))
    missing = -held % 5
    return _decode85(digits + [84] * missing, missing)
