# SPDX-License-Identifier: MIT
"""Commands on the bits of strings; bit 0 is the highest one of the first byte. What goes over many bits is native."""

from _bits import count, find, join
from number import MAX, parse_integer
from resp import CommandError, array, bulk, integer, pairs, syntax_error

_BAD_OFFSET = "ERR bit offset is not an integer or out of range"
_BAD_BIT = "ERR bit is not an integer or out of range"
_BAD_TYPE = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
_MOST = 512 << 23  # bits of a string


def _offset(text: bytes, width: int = 0) -> int:
    """width: of a bit field, which #N counts. Raises CommandError."""
    times = 1
    if width and text[:1] == b"#":
        text, times = text[1:], width
    at = parse_integer(text, _BAD_OFFSET) * times
    if at < 0 or at + max(width, 1) > _MOST:
        raise CommandError(_BAD_OFFSET)
    return at


def _string(client: object, key: bytes) -> bytes:
    return client.db.typed(key, bytes) or b""


def _grown(value: bytes, bits: int) -> bytearray:
    """A copy that can be changed and has so many bits."""
    data = bytearray(value)
    missing = (bits + 7) // 8 - len(value)
    if missing > 0:
        data.extend(bytes(missing))
    return data


def _kept(client: object, key: bytes, data: bytearray) -> None:
    client.db.values[key] = bytes(data)
    client.db.touch(key)


def setbit(client: object, args: list) -> bytes:
    at = _offset(args[2])
    bit = parse_integer(args[3], _BAD_BIT)
    if bit not in (0, 1):
        raise CommandError(_BAD_BIT)
    data = _grown(_string(client, args[1]), at + 1)
    mask = 128 >> (at & 7)
    old = data[at >> 3] & mask
    data[at >> 3] = data[at >> 3] & ~mask | (mask if bit else 0)
    _kept(client, args[1], data)
    return integer(bool(old))


def getbit(client: object, args: list) -> bytes:
    at = _offset(args[2])
    value = _string(client, args[1])
    return integer(value[at >> 3] >> (7 - (at & 7)) & 1 if at >> 3 < len(value) else 0)


def _in_bits(word: bytes) -> bool:
    upper = word.upper()
    if upper not in (b"BIT", b"BYTE"):
        raise syntax_error()
    return upper == b"BIT"


def _bit_range(size: int, low: int, high: int, unit: int) -> tuple:
    """(first bit, behind the last) of a range in units of so many bits, either end of which may count from the end."""
    total = size * 8 // unit
    low = max(low + total, 0) if low < 0 else low
    high = max(high + total, 0) if high < 0 else high
    high = min(high, total - 1)
    return (low * unit, (high + 1) * unit) if low <= high else (0, 0)


def bitcount(client: object, args: list) -> bytes:
    value = client.db.typed(args[1], bytes)
    if value is None:
        return integer(0)
    low, high = 0, len(value) * 8
    if len(args) in (4, 5):
        first, last = parse_integer(args[2]), parse_integer(args[3])
        if first < 0 and last < 0 and first > last:
            return integer(0)
        low, high = _bit_range(len(value), first, last, 1 if len(args) == 5 and _in_bits(args[4]) else 8)
    elif len(args) != 2:
        raise syntax_error()
    return integer(count(value, low, high))


def bitpos(client: object, args: list) -> bytes:
    bit = parse_integer(args[2])
    if bit not in (0, 1):
        raise CommandError("ERR The bit argument must be 1 or 0.")
    value = client.db.typed(args[1], bytes)
    if value is None:
        return integer(-1 if bit else 0)
    low, high = 0, len(value) * 8
    if len(args) > 6:
        raise syntax_error()
    if len(args) > 3:
        first = parse_integer(args[3])
        unit = 1 if len(args) == 6 and _in_bits(args[5]) else 8
        low, high = _bit_range(len(value), first, parse_integer(args[4]) if len(args) > 4 else -1, unit)
    if low >= high:
        return integer(-1)
    at = find(value, low, high, bit)
    if at == high and (bit or len(args) > 4):
        return integer(-1)
    return integer(at)  # behind the last one, where no end was said: there are zeros


_JOINS = {b"AND": 0, b"OR": 1, b"XOR": 2, b"NOT": 3}


def bitop(client: object, args: list) -> bytes:
    db = client.db
    how = _JOINS.get(args[1].upper())
    if how is None:
        raise syntax_error()
    if how == 3 and len(args) != 4:
        raise CommandError("ERR BITOP NOT must be called with a single source key.")
    values = [_string(client, key) for key in args[3:]]
    size = max([len(value) for value in values])
    if not size:
        db.remove(args[2])
        return integer(0)
    data = _grown(values[0], size * 8)
    join(data, values[1:], how)
    db.put(args[2], bytes(data))
    return integer(size)


# ---- BITFIELD ---------------------------------------------------------------------------------


class _Field:
    """A whole number somewhere in a string."""

    def __init__(self, kind: bytes, offset: bytes) -> None:
        """Raises CommandError."""
        width = kind[1:]
        self.signed = kind[:1] == b"i"
        if not (self.signed or kind[:1] == b"u") or not width.isdigit() or not 1 <= int(width) <= 63 + self.signed:
            raise CommandError(_BAD_TYPE)
        self.width = int(width)
        self.at = _offset(offset, self.width)
        top = self.width - self.signed
        self.most = (1 << top) - 1
        self.least = -(1 << top) if self.signed else 0

    def _place(self) -> tuple:
        """(first byte, behind the last, bits of them behind the field)."""
        end = self.at + self.width
        return self.at >> 3, (end + 7) >> 3, -end & 7

    def read(self, data: object) -> int:
        low, high, behind = self._place()
        piece = bytes(data[low:high])
        number = int.from_bytes(piece + bytes(high - low - len(piece)), "big") >> behind
        return self._wrapped(number)

    def _wrapped(self, number: int) -> int:
        number &= (1 << self.width) - 1
        return number - (1 << self.width) if number > self.most else number

    def write(self, data: bytearray, number: int) -> None:
        low, high, behind = self._place()
        mask = ((1 << self.width) - 1) << behind
        whole = int.from_bytes(bytes(data[low:high]), "big") & ~mask | ((number << behind) & mask)
        data[low:high] = whole.to_bytes(high - low, "big")

    def fitted(self, number: int, overflow: bytes) -> int | None:
        """None: it is not to be written."""
        if self.least <= number <= self.most:
            return number
        if overflow == b"WRAP":
            return self._wrapped(number)
        if overflow == b"FAIL":
            return None
        return self.most if number > self.most else self.least


def _steps(args: list) -> list:
    """(word, field, number, overflow) of each part. Raises CommandError."""
    overflow = b"WRAP"
    steps = []
    at = 2
    while at < len(args):
        word = args[at].upper()
        left = len(args) - at - 1
        if word == b"OVERFLOW" and left:
            overflow = args[at + 1].upper()
            if overflow not in (b"WRAP", b"SAT", b"FAIL"):
                raise CommandError("ERR Invalid OVERFLOW type specified")
            at += 2
            continue
        more = {b"GET": 2, b"SET": 3, b"INCRBY": 3}.get(word, MAX)
        if left < more:
            raise syntax_error()
        field = _Field(args[at + 1], args[at + 2])
        steps.append((word, field, 0 if more == 2 else parse_integer(args[at + 3]), overflow))
        at += 1 + more
    return steps


def bitfield(client: object, args: list) -> bytes:
    """BITFIELD, BITFIELD_RO."""
    steps = _steps(args)
    ends = [field.at + field.width for word, field, _, _ in steps if word != b"GET"]
    if ends and len(args[0]) > 8:
        raise CommandError("ERR BITFIELD_RO only supports the GET subcommand")
    value = _string(client, args[1])
    data = _grown(value, max(ends)) if ends else value
    answers = []
    for word, field, number, overflow in steps:
        old = field.read(data)
        if word == b"GET":
            answers.append(integer(old))
            continue
        if word == b"SET":
            number = number if field.signed or number >= 0 else number + (1 << 64)
        new = field.fitted(old + number if word == b"INCRBY" else number, overflow)
        if new is None:
            answers.append(client.nil)
            continue
        field.write(data, new)
        answers.append(integer(old if word == b"SET" else new))
    if ends:
        _kept(client, args[1], data)
    return array(answers)


# ---- LCS --------------------------------------------------------------------------------------

_MOST_CELLS = 1 << 21


def _lcs_options(words: list) -> tuple:
    """(words, least length of a match). Raises CommandError."""
    options = set()
    least = 0
    at = 0
    while at < len(words):
        word = words[at].upper()
        if word == b"MINMATCHLEN" and at + 1 < len(words):
            at += 1
            least = max(parse_integer(words[at]), 0)
        elif word in (b"IDX", b"LEN", b"WITHMATCHLEN"):
            options.add(word)
        else:
            raise syntax_error()
        at += 1
    if b"IDX" in options and b"LEN" in options:
        raise CommandError("ERR If you want both the length and indexes, please just use IDX.")
    return options, least


def _lengths(first: bytes, second: bytes) -> list:
    """Row i, column j: the length of what the first i and the first j bytes have in common."""
    above = [0] * (len(second) + 1)
    rows = [above]
    for byte in first:
        row = [0]
        left = 0
        for place, other in enumerate(second):
            if byte == other:
                left = above[place] + 1
            elif above[place + 1] > left:
                left = above[place + 1]
            row.append(left)
        rows.append(row)
        above = row
    return rows


def _common(first: bytes, second: bytes, rows: list) -> tuple:
    """(what they have in common, its parts from the last one on: (start in first, start in second, length))."""
    at, place = len(first), len(second)
    found = bytearray()
    parts: list = []
    size = 0  # of the part that is being read
    while at and place:
        same = first[at - 1] == second[place - 1]
        if same:
            found.append(first[at - 1])
            at -= 1
            place -= 1
            size += 1
        ends = not same or not at or not place
        if ends and size:
            parts.append((at, place, size))
            size = 0
        if not same:
            if rows[at - 1][place] > rows[at][place - 1]:
                at -= 1
            else:
                place -= 1
    return bytes(reversed(found)), parts


def lcs(client: object, args: list) -> bytes:
    first, second = [client.db.get(key) or b"" for key in args[1:3]]
    if type(first) is not bytes or type(second) is not bytes:
        raise CommandError("ERR The specified keys must contain string values")
    options, least = _lcs_options(args[3:])
    if (len(first) + 1) * (len(second) + 1) > _MOST_CELLS:
        raise CommandError("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    rows = _lengths(first, second)
    if b"LEN" in options:
        return integer(rows[-1][-1])
    common, parts = _common(first, second, rows)
    if b"IDX" not in options:
        return bulk(common)
    matches = []
    for at, place, size in parts:
        if size >= least:
            ends = [array([integer(start), integer(start + size - 1)]) for start in (at, place)]
            matches.append(array(ends + ([integer(size)] if b"WITHMATCHLEN" in options else [])))
    return pairs(client, [bulk(b"matches"), array(matches), bulk(b"len"), integer(len(common))])


COMMANDS = {
    "setbit": (setbit, 4, "wm"),
    "getbit": (getbit, 3, ""),
    "bitcount": (bitcount, -2, ""),
    "bitpos": (bitpos, -3, ""),
    "bitop": (bitop, -4, "wm"),
    "bitfield": (bitfield, -2, "wm"),
    "bitfield_ro": (bitfield, -2, ""),
    "lcs": (lcs, -3, ""),
}
