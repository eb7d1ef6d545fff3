# SPDX-License-Identifier: MIT
"""What a rule asks of a packet, as instructions that jump to the next rule where it does not hold. All must hold, so
their order is free: what tells most packets apart stands first."""

from .program import TEXT, F, Op, pack_ranges
from .rules import Set, not_
from .values import (
    DSCP,
    FRAGMENTS,
    ICMP_TYPES,
    ICMPV6_TYPES,
    PROTOCOLS,
    STATES,
    THIS,
    flag_ranges,
    mac_range,
    merge,
    network_range,
    number_range,
)

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
PORTS = "needs proto='tcp', proto='udp' or both in its rule"

# Word: field, largest number, what it is called, names.
NUMBERS = {
    "family": (F.FAMILY, 6, "family", {}),
    "proto": (F.PROTO, 255, "protocol", PROTOCOLS),
    "sport": (F.SPORT, 65535, "port", {}),
    "dport": (F.DPORT, 65535, "port", {}),
    "in_": (F.IN, 254, "card", {}),
    "out": (F.OUT, 254, "card", {}),
    "state": (F.STATE, None, "state", STATES),
    "icmp": (F.ICMP_TYPE, 255, "type of ICMP", ICMP_TYPES),
    "icmp_code": (F.ICMP_CODE, 255, "code of ICMP", {}),
    "mark": (F.MARK, 0xFFFFFFFF, "mark", {}),
    "vlan": (F.VLAN, 4095, "VLAN", {}),
    "length": (F.LENGTH, 65535, "length", {}),
    "ttl": (F.TTL, 255, "TTL", {}),
    "dscp": (F.DSCP, 63, "DSCP", DSCP),
    "fragment": (F.FRAGMENT, None, "place of a fragment", FRAGMENTS),
}
# In this order they are asked.
WORDS = ("dport", "dst", "src", "sport", "in_", "out", "icmp", "icmp_code", "flags", "smac", "vlan", "mark", "length",
         "ttl", "dscp", "state", "proto", "fragment", "family")  # fmt: skip
# Sets of values of one kind may stand in both conditions.
KINDS = {"src": "address", "dst": "address", "sport": "port", "dport": "port", "in_": "card", "out": "card"}
LAYER_4 = ("sport", "dport", "icmp", "icmp_code", "flags")


def text_of(value, what):
    """A name, or a log's text."""
    size = len(value.encode()) if isinstance(value, str) else 0
    if not 1 <= size <= TEXT or any(c < " " or c == "\x7f" for c in value):
        raise ValueError("%r is no %s; right are 1 to %d bytes of text on one line" % (value, what, TEXT))
    return value


def one_family(families):
    """The family that all of {what: family} have, or None."""
    found = sorted(set(families.values()))
    if len(found) > 1:
        told = ", ".join("%s is IPv%d" % (what, families[what]) for what in sorted(families))
        raise ValueError("%s; a rule is about one family: write two" % told)
    return found[0] if found else None


def of_addresses(items):
    """Family and ranges of addresses, networks and ranges of them."""
    found = [network_range(item) for item in items]
    families = {"%r" % item: each[0] for item, each in zip(items, found)}
    return one_family(families), merge([(lo, hi) for _, lo, hi in found])


class Conditions:
    """Those of all rules of a program. named: (object, kind, number, family) of sets and maps by their names; encodes:
    what Program.named is to be."""

    def __init__(self, tables, cards):
        self.tables = tables
        self.cards = dict(cards, this=THIS)
        self.named = {}
        self.encodes = []

    def ranges(self, word, items, proto):
        """What a condition's items are: family or None, whether wide, ranges."""
        if word in ("src", "dst"):
            family, found = of_addresses(items)
            return family, family == 6, found
        if word == "smac":
            return None, True, merge([mac_range(item) for item in items])
        if word == "flags":
            return None, False, merge([each for item in items for each in flag_ranges(item)])
        _, most, what, names = NUMBERS[word]
        if word in ("in_", "out"):
            names = self.cards
        if word == "icmp" and proto == ICMPV6:
            names = ICMPV6_TYPES
        found = [number_range(item, most, what, names) for item in items]
        if word == "family" and any(each not in ((4, 4), (6, 6)) for each in found):
            raise ValueError("right are 4 and 6")
        return None, False, merge(found)

    def named_set(self, word, named, proto):
        """Number and family of a Set in a condition."""
        kind = KINDS.get(word, word)
        if word == "icmp" and proto == ICMPV6:
            kind = "icmpv6"
        known = self.named.get(text_of(named.name, "name of a set"))
        if known is not None:
            if known[0] is not named:
                raise ValueError("two sets have the name %r" % named.name)
            if known[1] != kind:
                raise ValueError("set %r holds values of another kind: %s" % (named.name, known[1]))
            return known[2:]
        family = None
        if kind == "address":
            family = of_addresses(list(named))[0] or named.family
            if family not in (4, 6) or named.family not in (None, family):
                raise ValueError("set %r: its family is to be 4 or 6, as that of what is in it" % named.name)
        is_wide = word == "smac" or family == 6

        def encode():
            found = self.ranges(word, list(named), proto)
            if found[0] not in (None, family):
                raise ValueError("set %r holds addresses of IPv%d" % (named.name, family))
            return pack_ranges(found[2], is_wide)

        number = self.tables.add_set(self.ranges(word, list(named), proto)[2], is_wide, named.name)
        self.named[named.name] = (named, kind, number, family)
        self.encodes.append((named, number, encode))
        return number, family

    def condition(self, word, value, proto):
        """Instructions of a condition, without their `to`, and the family it is about, or None."""
        negate = isinstance(value, not_)
        value = value.value if negate else value
        if isinstance(value, Set):
            number, family = self.named_set(word, value, proto)
            return [Op.SET, self.field(word, family), int(negate), number, 0, None], family
        items = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
        if word == "fragment" and items in ([True], [False]):
            items = ["first", "later"] if items[0] else ["whole"]
        if not items:
            raise ValueError("there is nothing in it")
        if any(isinstance(item, (Set, not_)) for item in items):
            raise ValueError("a Set or not_() does not stand in a list; not_([...]) is right")
        family, is_wide, found = self.ranges(word, items, proto)
        field = self.field(word, family)
        if not is_wide and len(found) == 1:
            return [Op.RANGE, field, int(negate), found[0][0], found[0][1] - found[0][0], None], family
        return [Op.SET, field, int(negate), self.tables.add_set(found, is_wide), 0, None], family

    def field(self, word, family):
        if word == "src":
            return F.SRC4 if family == 4 else F.SRC6
        if word == "dst":
            return F.DST4 if family == 4 else F.DST6
        return {"smac": F.SMAC, "flags": F.FLAGS}.get(word) or NUMBERS[word][0]

    def protocols(self, value):
        """The protocols of which a rule's packets must be; None: any."""
        if value is None or isinstance(value, (Set, not_)):
            return None
        items = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
        found = [number_range(item, 255, "protocol", PROTOCOLS) for item in items]
        return {number for lo, hi in found for number in range(lo, hi + 1)}

    def of(self, rule, families):
        """A rule's instructions, and its protocols or None. families: what in its actions is of one, and of which."""
        unknown = sorted(word for word in rule.conditions if word not in WORDS)
        if unknown:
            raise ValueError("%r is no condition; right are %s" % (unknown[0], ", ".join(sorted(WORDS))))
        proto = self.protocols(rule.conditions.get("proto"))
        kind = ICMPV6 if proto == {ICMPV6} else ICMP
        if proto in ({ICMP}, {ICMPV6}):
            families["proto=%r" % rule.conditions["proto"]] = 4 if proto == {ICMP} else 6
        out = []
        for word in WORDS:
            if word not in rule.conditions:
                continue
            if word in ("sport", "dport") and not (proto and proto <= {TCP, UDP}):
                raise ValueError("%s %s" % (word, PORTS))
            if word in ("icmp", "icmp_code") and proto not in ({ICMP}, {ICMPV6}):
                raise ValueError("%s needs proto='icmp' or proto='icmpv6' in its rule" % word)
            if word == "flags" and proto != {TCP}:
                raise ValueError("flags needs proto='tcp' in its rule")
            try:
                insn, family = self.condition(word, rule.conditions[word], kind)
            except ValueError as e:
                raise ValueError("%s: %s" % (word, e))
            out.append(insn)
            if family is not None:
                families[word] = family
        if rule.conditions.get("family") in (4, 6):
            families["family"] = rule.conditions["family"]
        family = one_family(families)
        if family is not None and "family" not in families:
            out.append([Op.RANGE, F.FAMILY, 0, family, 0, None])
        if any(word in rule.conditions for word in LAYER_4):
            out.append([Op.RANGE, F.FRAGMENT, 0, 0, 1, None])  # a later fragment has no ports, nor has it a type
        return out, proto
