# SPDX-License-Identifier: MIT
"""What conditions compare with: words of a rule become ranges of numbers. Errors are ValueErrors in plain words."""

PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "ospf": 89,
             "vrrp": 112, "sctp": 132}  # fmt: skip
STATES = {"new": 1, "established": 2, "related": 4, "invalid": 8, "untracked": 16}
FRAGMENTS = {"whole": 0, "first": 1, "later": 2}
FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}
ICMP_TYPES = {"echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
        "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
        "timestamp-request": 13, "timestamp-reply": 14}  # fmt: skip
ICMPV6_TYPES = {"destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
          "echo-request": 128, "echo-reply": 129, "router-solicitation": 133, "router-advertisement": 134,
          "neighbour-solicitation": 135, "neighbour-advertisement": 136, "redirect": 137}  # fmt: skip
DSCP = {"ef": 46, "cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56}
for _c in (1, 2, 3, 4):
    for _d in (1, 2, 3):
        DSCP["af%d%d" % (_c, _d)] = 8 * _c + 2 * _d
THIS = 0xFF  # the card of what this machine sends or receives


# strip() finds what is beside these at once, and a loop in Python does not.
def _decimal(text, most):
    if not text or len(text) > 10 or text.strip("0123456789"):
        return None
    number = int(text)
    return number if number <= most else None


def _is_hex(text):
    return not text.strip("0123456789abcdefABCDEF")


def _ipv4(text):
    parts = text.split(".")
    if len(parts) != 4 or text.strip("0123456789."):
        return None
    number = 0
    for part in parts:
        if not 1 <= len(part) <= 3 or (part[0] == "0" and len(part) > 1):
            return None
        byte = int(part)
        if byte > 255:
            return None
        number = number << 8 | byte
    return number


def _groups(text):
    """The numbers of groups between colons; the last may be an IPv4 address. None: one is no group."""
    out = []
    parts = text.split(":") if text else []
    for i, part in enumerate(parts):
        if "." in part and i == len(parts) - 1:
            number = _ipv4(part)
            if number is None:
                return None
            out += [number >> 16, number & 0xFFFF]
        elif 1 <= len(part) <= 4 and _is_hex(part):
            out.append(int(part, 16))
        else:
            return None
    return out


def _ipv6(text):
    sides = text.split("::")
    groups = [_groups(side) for side in sides]
    if len(sides) > 2 or None in groups or (len(sides) == 2 and "." in sides[0]):
        return None
    missing = 8 - sum(len(side) for side in groups)
    if missing < 1 if len(sides) == 2 else missing != 0:
        return None
    number = 0
    for group in groups[0] + [0] * missing + (groups[1] if len(sides) == 2 else []):
        number = number << 16 | group
    return number


def address(text):
    """(4 or 6, number) of an address."""
    if isinstance(text, str):
        family = 6 if ":" in text else 4
        number = _ipv6(text) if family == 6 else _ipv4(text)
        if number is not None:
            return family, number
    raise ValueError("%r is no address; right are '192.0.2.1' and '2001:db8::1'" % (text,))


def shown(family, number):
    """An address as text, which address() reads."""
    if family == 4:
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    return ":".join("%x" % (number >> shift & 0xFFFF) for shift in range(112, -1, -16))


def network_range(text):
    """(family, first, last) of an address, a network "a/24" or a range "a-b"."""
    if not isinstance(text, str):
        address(text)  # raises
    if "-" in text:
        first, _, last = text.partition("-")
        (family, lo), (other, hi) = address(first.strip()), address(last.strip())
        if family != other:
            raise ValueError("%r goes from one family of addresses to the other" % text)
        if lo > hi:
            raise ValueError("%r ends below its beginning" % text)
        return family, lo, hi
    if "/" in text:
        base, _, size = text.partition("/")
        family, number = address(base)
        bits = 32 if family == 4 else 128
        prefix = _decimal(size, bits)
        if prefix is None:
            raise ValueError("%r: a prefix of this family has 0 to %d bits" % (text, bits))
        rest = (1 << (bits - prefix)) - 1
        if number & rest:
            right = shown(family, number - (number & rest))
            raise ValueError("%r has bits behind its prefix; right is '%s/%d'" % (text, right, prefix))
        return family, number, number | rest
    family, number = address(text)
    return family, number, number


def ordered(items):
    """A list sorted. Most are already, and a VM's sorted() takes longest for just these: a comparison of each pair."""
    for i in range(1, len(items)):
        if items[i] < items[i - 1]:
            return sorted(items)
    return items


def merge(ranges):
    """Ranges in order and apart."""
    if len(ranges) == 1:
        return ranges
    out = []
    for lo, hi in ordered(ranges):
        if out and lo <= out[-1][1] + 1:
            if hi > out[-1][1]:
                out[-1] = (out[-1][0], hi)
        else:
            out.append((lo, hi))
    return out


def number_range(value, most, what, names, least=0):
    """The range of a number, "a-b", or a name. most: the largest number; None: names alone."""
    if isinstance(value, str) and value in names:
        return names[value], names[value]
    if most is not None and isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value, value
    if most is not None and isinstance(value, str):
        first, dash, last = value.partition("-")
        lo = _decimal(first.strip(), most)
        hi = _decimal(last.strip(), most) if dash else lo
        if lo is not None and hi is not None and lo >= least:
            if lo > hi:
                raise ValueError("%r ends below its beginning" % value)
            return lo, hi
    right = sorted(names) + (["%d to %d" % (least, most), "'a-b'"] if most is not None else [])
    raise ValueError("%r is no %s; right: %s" % (value, what, ", ".join(right)))


def mac_range(text):
    parts = text.split(":") if isinstance(text, str) else []
    if len(parts) != 6 or not all(len(part) == 2 and _is_hex(part) for part in parts):
        raise ValueError("%r is no MAC; right is '52:54:00:12:34:56'" % (text,))
    number = int("".join(parts), 16)
    return number, number


def flag_ranges(text):
    """Ranges of flag bytes that "syn !ack" means: those named are set, those after a ! are not."""
    wanted = mask = 0
    words = text.split() if isinstance(text, str) else []
    for word in words:
        bit = FLAGS.get(word[1:] if word[0] == "!" else word)
        if bit is None or mask & bit:
            raise ValueError("%r: right are %s, each once, with a ! before what must not be set"
                             % (text, ", ".join(sorted(FLAGS))))  # fmt: skip
        mask |= bit
        if word[0] != "!":
            wanted |= bit
    if not words:
        raise ValueError("%r names no flag; right is 'syn !ack'" % (text,))
    return [(byte, byte) for byte in range(256) if byte & mask == wanted]
