# SPDX-License-Identifier: MIT
"""How a chain's rules stand in a program. Where many rules in a row ask one field of a packet for this or that, a
switch before them leads to the first one that may hold; a rule that does not hold after all leads to the next, and
before each BLOCK of them stands a switch again."""

from heapq import heappop, heappush

from .program import NONE, F, Op
from .values import ordered

ROW = 8  # rules in a row from which on a switch is worth its cases
BLOCK = 64


def _asked(rule, tables):
    """{field: ranges} of which a packet must be for the rule to hold, as far as nobody changes them in use."""
    out = {}
    for op, field, negate, a, b, _ in rule:
        if negate or field >= F.SRC6:
            continue
        if op == Op.RANGE:
            out[field] = ((a, a + b),)
        elif op == Op.SET and tables.sets[a][3] == NONE:
            _, first, count, _ = tables.sets[a]
            out[field] = tuple(tables.narrow[first : first + count])
    return out


def _row(asked, first, few):
    """(end, field) of the rules from `first` on that ask one field for most different things; None: there are few.
    few: up to which rule that was found out of a field."""
    best = None
    for field in sorted(asked[first]):
        if few.get(field, 0) > first:
            continue
        end = first
        different = set()
        while end < len(asked) and field in asked[end]:
            different.add(asked[end][field])
            end += 1
        if len(different) < ROW:
            few[field] = end
        elif best is None or len(different) > best[0]:
            best = len(different), end, field
    return best and best[1:]


def _first_of(asked, first, end, field):
    """(lo, hi, rule) in order and apart: which rule from first to end - 1 is the first that may hold for a value."""
    begins = ordered([(lo, rule, hi) for rule in range(first, end) for lo, hi in asked[rule][field]])
    last = -1
    for lo, _, hi in begins:
        if lo <= last:
            break
        last = hi
    else:  # no two rules ask for the same
        return [(lo, hi, rule) for lo, rule, hi in begins]
    ends = {lo for lo, _, _ in begins}
    ends.update([hi + 1 for _, _, hi in begins])
    ends = ordered(list(ends))
    out = []
    open_ = []  # a heap of rules with where they end
    at = 0
    for i in range(len(ends) - 1):
        lo = ends[i]
        while at < len(begins) and begins[at][0] == lo:
            heappush(open_, (begins[at][1], begins[at][2]))
            at += 1
        while open_ and open_[0][1] < lo:
            heappop(open_)
        if not open_:
            continue
        rule = open_[0][0]
        if out and out[-1][2] == rule and out[-1][1] + 1 == lo:
            out[-1] = (out[-1][0], ends[i + 1] - 1, rule)
        else:
            out.append((lo, ends[i + 1] - 1, rule))
    return out


def _switches(asked):
    """{rule: (end, field)}: before which rules switches stand, and over which rules they choose."""
    out = {}
    few = {}
    first = 0
    while first < len(asked):
        row = _row(asked, first, few)
        if row is None:
            first += 1
            continue
        end, field = row
        out[first] = row
        if end - first > BLOCK:
            for block in range(first + BLOCK, end, BLOCK):
                out[block] = (min(block + BLOCK, end), field)
        first = end
    return out


def lay_out(rules, start, tables):
    """The instructions of rules, the first at `start`. In each rule's, None is "the next rule"."""
    asked = [_asked(rule, tables) for rule in rules]
    switches = _switches(asked)
    entries = []  # of each rule: its switch or its first instruction
    bodies = []
    at = start
    for number, rule in enumerate(rules):
        entries.append(at)
        at += number in switches
        bodies.append(at)
        at += len(rule)
    entries.append(at)
    code = []
    for number, rule in enumerate(rules):
        if number in switches:
            end, field = switches[number]
            cases = [(lo, hi, bodies[to]) for lo, hi, to in _first_of(asked, number, end, field)]
            code.append((Op.SWITCH, field, 0, len(tables.cases), len(cases), entries[end]))
            tables.cases += cases
        after = entries[number + 1]
        for op, field, negate, a, b, to in rule:
            code.append((op, field, negate, a, b, after if to is None else to))
    return code
