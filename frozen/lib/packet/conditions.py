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
PORTED = {TCP, UDP}
# Instructions of many rules.
OF_FAMILY = {family: [Op.RANGE, F.FAMILY, 0, family, 0, None] for family in (4, 6)}
NOT_LATER = [Op.RANGE, F.FRAGMENT, 0, 0, 1, None]  # a later fragment has no ports, nor has it a type
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
PLACES = {word: place for place, word in enumerate(WORDS)}
# Sets of values of one kind may stand in both conditions.
KINDS = {"src": "address", "dst": "address", "sport": "port", "dport": "port", "in_": "card", "out": "card"}
LAYER_4 = ("sport", "dport", "icmp", "icmp_code", "flags")
FIELDS = {"smac": F.SMAC, "flags": F.FLAGS}
FIELDS.update({word: NUMBERS[word][0] for word in NUMBERS})


def text_of(value, what):
    """A name, or a log's text."""
    raw = value.encode() if isinstance(value, str) else b""
    if not 1 <= len(raw) <= TEXT or min(raw) < 32 or 127 in raw:
        raise ValueError("%r is no %s; right are 1 to %d bytes of text on one line" % (value, what, TEXT))
    return value


def one_family(families):
    """The family that all of {what: family} have, or None."""
    found = None
    for family in families.values():
        if found not in (None, family):
            told = ", ".join("%s is IPv%d" % (what, families[what]) for what in sorted(families))
            raise ValueError("%s; a rule is about one family: write two" % told)
        found = family
    return found


def of_addresses(items):
    """Family and ranges of addresses, networks and ranges of them."""
    found = [network_range(item) for item in items]
    family = found[0][0] if found else None
    for each in found:
        if each[0] != family:
            one_family({"%r" % item: each[0] for item, each in zip(items, found)})  # raises
    return family, merge([(lo, hi) for _, lo, hi in found])


def words_of(value):
    """What stands for a text, or a list of such, in a dict; None for other values."""
    if type(value) is str:
        return value
    if type(value) is not list:
        return None
    for item in value:
        if type(item) is not str:
            return None
    return tuple(value)


def check_words(conditions):
    for word in conditions:
        if word not in PLACES:
            unknown = sorted([word for word in conditions if word not in PLACES])
            raise ValueError("%r is no condition; right are %s" % (unknown[0], ", ".join(sorted(WORDS))))


def check_beside(word, proto, one):
    """That what a condition asks for is there: proto are the rule's protocols or None, one is the only one."""
    if word in ("sport", "dport"):
        if not (proto and proto <= PORTED):
            raise ValueError("%s %s" % (word, PORTS))
    elif word == "flags":
        if one != TCP:
            raise ValueError("flags needs proto='tcp' in its rule")
    elif one not in (ICMP, ICMPV6):
        raise ValueError("%s needs proto='icmp' or proto='icmpv6' in its rule" % word)


class Conditions:
    """Those of all rules of a program. named: (object, kind, number, family) of sets and maps by their names; encodes:
    what Program.named is to be."""

    def __init__(self, tables, cards):
        self.tables = tables
        self.cards = dict(cards, this=THIS)
        self.named = {}
        self.encodes = []
        self.known = {}  # what conditions and protocols came to that other rules have, too

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
        """The instruction of a condition, without its `to`, and the family it is about, or None."""
        if type(value) is list and len(value) == 1 and type(value[0]) in (int, str):
            value = value[0]
        if type(value) is int and word in NUMBERS and word != "family":
            most = NUMBERS[word][1]
            if most is not None and 0 <= value <= most:
                return [Op.RANGE, FIELDS[word], 0, value, 0, None], None
        key = words_of(value)
        if key is None:
            return self.new_condition(word, value, proto)
        key = word, proto, key
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self.new_condition(word, value, proto)
        return found

    def new_condition(self, word, value, proto):
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
        for item in items:
            if isinstance(item, (Set, not_)):
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
        return FIELDS[word]

    def protocols(self, value):
        """The protocols of which a rule's packets must be; None: any."""
        if value is None or isinstance(value, (Set, not_)):
            return None
        key = words_of(value)
        if key is not None and key in self.known:
            return self.known[key]
        items = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
        found = [number_range(item, 255, "protocol", PROTOCOLS) for item in items]
        numbers = {number for lo, hi in found for number in range(lo, hi + 1)}
        if key is not None:
            self.known[key] = numbers
        return numbers

    def of(self, rule, families):
        """A rule's instructions, and its protocols or None. families: what in its actions is of one, and of which."""
        conditions = rule.conditions
        check_words(conditions)
        proto = self.protocols(conditions.get("proto"))
        one = next(iter(proto)) if proto and len(proto) == 1 else None
        kind = ICMPV6 if one == ICMPV6 else ICMP
        if one in (ICMP, ICMPV6):
            families["proto=%r" % conditions["proto"]] = 4 if one == ICMP else 6
        out = []
        is_layer_4 = False
        for word in sorted(conditions, key=PLACES.get):
            if word in LAYER_4:
                is_layer_4 = True
                check_beside(word, proto, one)
            try:
                insn, family = self.condition(word, conditions[word], kind)
            except ValueError as e:
                raise ValueError("%s: %s" % (word, e))
            out.append(insn)
            if family is not None:
                families[word] = family
        if conditions.get("family") in (4, 6):
            families["family"] = conditions["family"]
        family = one_family(families)
        if family is not None and "family" not in families:
            out.append(OF_FAMILY[family])
        if is_layer_4:
            out.append(NOT_LATER)
        return out, proto
