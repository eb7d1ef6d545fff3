# SPDX-License-Identifier: MIT
"""A rule program as bytes: what modules/packet/packetprogram.h describes."""

from struct import pack, pack_into

MAGIC = 0x4C525046
VERSION = 1
DEPTH = 16
STEPS = 1 << 20
SIZE = 32 << 20
TEXT = 47
BURST = 1 << 16
PERIOD = 86400 * 1000000000
NONE = 0xFFFFFFFF
HEAD = 80

# How the rows of each section stand, and their bytes; without a form: not in the order of their numbers.
SECTIONS = (("<IIIHBx", 16), ("<BBBxIII", 16), ("<IIII", 16), ("<IIII", 16), ("<QI4x", 16), ("<I4x", 8), ("<II", 8),
            ("<II", 8), (None, 32), (None, 16), ("<III4x", 16))  # fmt: skip

HOOKS = ("prerouting", "input", "forward", "postrouting")


class F:
    """What is asked of a packet; those from SRC6 on are of 16 bytes."""

    FAMILY = 0
    PROTO = 1
    IN = 2
    OUT = 3
    FRAGMENT = 4
    TTL = 5
    DSCP = 6
    FLAGS = 7
    ICMP_TYPE = 8
    ICMP_CODE = 9
    STATE = 10
    SRC4 = 11
    DST4 = 12
    SPORT = 13
    DPORT = 14
    LENGTH = 15
    VLAN = 16
    MARK = 17
    SRC6 = 18
    DST6 = 19
    SMAC = 20


class Op:
    """Instructions."""

    RANGE = 0
    SET = 1
    LIMIT = 2
    SWITCH = 3
    COUNT = 4
    LOG = 5
    SET_MARK = 6
    CALL = 7
    RETURN = 8
    ACCEPT = 9
    DROP = 10
    REJECT = 11
    DNAT = 12
    DNAT_MAP = 13
    SNAT = 14
    MASQUERADE = 15


def wide(number):
    """A number of 128 bits, as the engine compares it."""
    return pack("<QQ", number >> 64, number & 0xFFFFFFFFFFFFFFFF)


def put(out, at, form, size, rows):
    """Rows of numbers, each of so many bytes; where the next section begins."""
    for row in rows:
        pack_into(form, out, at, *row)
        at += size
    return at


def pack_ranges(ranges, is_wide):
    if is_wide:
        return b"".join([wide(lo) + wide(hi) for lo, hi in ranges])
    out = bytearray(8 * len(ranges))
    put(out, 0, "<II", 8, ranges)
    return bytes(out)


def pack_targets(targets):
    """Of (first port, last port, address, port) each."""
    return b"".join([pack("<HHHH", lo, hi, port, 0) + pack(">II", number, 0) for lo, hi, number, port in targets])


class Program:
    """What the engine loads. named: (Set or Map, number, encode) of those that may change: encode() gives what
    the engine is to be told then, or raises ValueError."""

    def __init__(self, content, named):
        self.bytes = content
        self.named = named


class Tables:
    """The tables of a program that is being made. Equal entries stand once."""

    def __init__(self):
        self.names = []
        self.text = bytearray()
        self._known = {}
        self.limits = []
        self.sets = []
        self.narrow = []
        self.wide = []
        self.maps = []
        self.targets = []
        self.counters = []
        self.cases = []

    def name(self, text):
        """The number of a name."""
        raw = text.encode()
        key = ("name", raw)
        if key not in self._known:
            self._known[key] = len(self.names)
            self.names.append((len(self.text), len(raw)))
            self.text += raw
        return self._known[key]

    def add_set(self, ranges, is_wide, name=None):
        """The number of a set; one with a name is nobody else's."""
        key = ("set", is_wide, tuple(ranges))
        if name is None and key in self._known:
            return self._known[key]
        pool = self.wide if is_wide else self.narrow
        self.sets.append((int(is_wide), len(pool), len(ranges), NONE if name is None else self.name(name)))
        pool += ranges
        if name is None:
            self._known[key] = len(self.sets) - 1
        return len(self.sets) - 1

    def add_target(self, number, port):
        key = ("target", number, port)
        if key not in self._known:
            self._known[key] = len(self.targets)
            self.targets.append((0, 0, number, port))
        return self._known[key]

    def add_map(self, targets, name):
        self.maps.append((len(self.targets), len(targets), self.name(name), 0))
        self.targets += targets
        return len(self.maps) - 1

    def add_limit(self, period_ns, burst):
        self.limits.append((period_ns, burst))
        return len(self.limits) - 1

    def order_counters(self, names):
        """Give counters their numbers, in the order of names: {name: number}."""
        raw = sorted((name.encode(), name) for name in names)
        self.counters = [self.name(name) for _, name in raw]
        return {name: i for i, (_, name) in enumerate(raw)}

    def pack(self, entry, chains, code):
        """The program. entry: a chain or NONE of each hook; chains: (start, end, steps, depth, hooks); code:
        [op, field, negate, a, b, to]."""
        counts = [len(each) for each in (chains, code, self.sets, self.maps, self.limits, self.counters, self.names,
                                         self.narrow, self.wide, self.targets, self.cases, self.text)]  # fmt: skip
        size = HEAD + len(self.text)
        for count, (_, each) in zip(counts, SECTIONS):
            size += count * each
        out = bytearray(size)
        pack_into("<IIIIIII", out, 0, MAGIC, VERSION, size, *entry)
        pack_into("<IIIIIIIIIIIII", out, 28, *counts, 0)
        at = HEAD
        counters = [(name,) for name in self.counters]
        rows = (chains, code, self.sets, self.maps, self.limits, counters, self.names, self.narrow, self.wide,
                self.targets, self.cases)  # fmt: skip
        for (form, each), found in zip(SECTIONS, rows):
            if form:
                at = put(out, at, form, each, found)
            elif found:
                part = pack_ranges(found, True) if each == 32 else pack_targets(found)
                out[at : at + len(part)] = part
                at += len(part)
        out[at:] = self.text
        return bytes(out)
