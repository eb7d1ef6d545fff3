# SPDX-License-Identifier: MIT
# Plain values as bytes, from VM to VM: a letter for the kind, then what it holds. Functions, classes and exceptions go
# by name (names.py); all else has no form and is refused.

import struct

from .names import find, name_of


def dumps(value):
    """Raises TypeError for what cannot travel."""
    out = bytearray()
    _put(out, value)
    return out


def loads(data):
    return _Reader(data).take()


def _put_length(out, n):
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)


def _put_bytes(out, kind, data):
    out.append(kind)
    _put_length(out, len(data))
    out.extend(data)


def _put_int(out, n):
    kind = 73  # I
    if n < 0:
        kind, n = 74, ~n  # J
    length = 1
    while n >> 8 * length:
        length = length * 2 if length < 8 else length + 8
    _put_bytes(out, kind, n.to_bytes(length, "little"))


def _put_items(kind):
    def put(out, value):
        out.append(kind)
        _put_length(out, len(value))
        for item in value:
            _put(out, item)

    return put


def _put_dict(out, value):
    out.append(77)  # M
    _put_length(out, len(value))
    for key, item in value.items():
        _put(out, key)
        _put(out, item)


def _put_float(out, value):
    out.append(68)  # D
    out.extend(struct.pack("<d", value))


_PUT = {
    type(None): lambda out, value: out.append(78),  # N
    bool: lambda out, value: out.append(84 if value else 70),  # T F
    int: _put_int,
    float: _put_float,
    str: lambda out, value: _put_bytes(out, 83, value.encode()),  # S
    bytes: lambda out, value: _put_bytes(out, 66, value),  # B
    bytearray: lambda out, value: _put_bytes(out, 65, value),  # A
    memoryview: lambda out, value: _put_bytes(out, 66, value),
    list: _put_items(76),  # L
    tuple: _put_items(85),  # U
    set: _put_items(69),  # E
    frozenset: _put_items(90),  # Z
    dict: _put_dict,
}


def _put(out, value):
    put = _PUT.get(type(value))
    if put is not None:
        put(out, value)
    elif isinstance(value, BaseException):
        out.append(88)  # X
        _put(out, name_of(type(value)))
        _put(out, value.args)
    elif callable(value):
        out.append(82)  # R
        _put(out, name_of(value))
    else:
        raise TypeError("cannot send a " + type(value).__name__ + " to another VM: plain values travel only")


class _Reader:
    def __init__(self, data):
        self._data = data
        self._at = 0

    def _part(self, n):
        at = self._at
        self._at = at + n
        if self._at > len(self._data):
            raise EOFError("a value that is cut off")
        return self._data[at : self._at]

    def _length(self):
        n = shift = 0
        while True:
            byte = self._part(1)[0]
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    def _bytes(self):
        return self._part(self._length())

    def _items(self):
        return [self.take() for _ in range(self._length())]

    def take(self):
        kind = self._part(1)[0]
        if kind not in _TAKE:
            raise ValueError("not a value")
        return _TAKE[kind](self)

    def _pairs(self):
        made = {}
        for _ in range(self._length()):
            key = self.take()
            made[key] = self.take()
        return made

    def _exception(self):
        kind = find(*self.take())
        args = self.take()
        try:
            return kind(*args)
        except TypeError:  # it takes other arguments than it keeps
            return RuntimeError(kind.__name__, *args)


_TAKE = {
    78: lambda r: None,
    84: lambda r: True,
    70: lambda r: False,
    73: lambda r: int.from_bytes(r._bytes(), "little"),
    74: lambda r: ~int.from_bytes(r._bytes(), "little"),
    68: lambda r: struct.unpack("<d", r._part(8))[0],
    83: lambda r: str(r._bytes(), "utf-8"),
    66: lambda r: bytes(r._bytes()),
    65: lambda r: bytearray(r._bytes()),
    76: lambda r: r._items(),
    85: lambda r: tuple(r._items()),
    69: lambda r: set(r._items()),
    90: lambda r: frozenset(r._items()),
    77: lambda r: r._pairs(),
    88: lambda r: r._exception(),
    82: lambda r: find(*r.take()),
}
