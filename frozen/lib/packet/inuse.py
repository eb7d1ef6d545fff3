# SPDX-License-Identifier: MIT
"""The rules in use: a rule set taken by the engine, its counters and its log."""

import _packetrules

from .program import HOOKS
from .rules import Map
from .values import PROTOCOLS, THIS, shown

_sets = []  # of the rules in use, whose changes the engine is told


class Record:
    """What a rule with log() saw: when (ns of time.ticks), hook, text, in_ and out (cards, None: this machine), proto,
    src, sport, dst, dport, length."""

    def __init__(self, time_ns, hook, text, in_, out, proto, src, sport, dst, dport, length):
        self.time_ns = time_ns
        self.hook = HOOKS[hook]
        self.text = text
        self.in_ = None if in_ == THIS else in_
        self.out = None if out == THIS else out
        self.proto = proto
        self.src = _text(src)
        self.sport = sport
        self.dst = _text(dst)
        self.dport = dport
        self.length = length

    def __repr__(self):
        ports = (":%d" % self.sport, ":%d" % self.dport) if self.sport or self.dport else ("", "")
        ends = "%s%s -> %s%s" % (self.src, ports[0], self.dst, ports[1])
        proto = next((name for name in PROTOCOLS if PROTOCOLS[name] == self.proto), "protocol %d" % self.proto)
        return "%s: %s, %s, %s, %d bytes" % (self.text, self.hook, proto, ends, self.length)


def _text(raw):
    return shown(4 if len(raw) == 4 else 6, int.from_bytes(raw, "big"))


def _follower(number, encode, is_map):
    def push():
        _packetrules.change(number, encode(), is_map)

    return push


def load(rules):
    """Have these rules, or what their compile() gave, decide from the next packet on, in place of those before, all at
    once. RuleError: a rule cannot be, and those before stay. Counters of equal names go on; flows stay."""
    program = rules.compile() if hasattr(rules, "compile") else rules
    _packetrules.load(program.bytes)
    for named in _sets:
        named.loaded(None)
    _sets.clear()
    for named, number, encode in program.named:
        named.loaded(_follower(number, encode, isinstance(named, Map)))
        _sets.append(named)


def unload():
    """Have no rules: all is accepted."""
    _packetrules.unload()
    for named in _sets:
        named.loaded(None)
    _sets.clear()


def rule_counters():
    """{name: (packets, bytes)}"""
    return {name: (packets, size) for name, packets, size in _packetrules.counts()}


def rule_log():
    """The latest records, oldest first; each is told once."""
    out = []
    record = _packetrules.record()
    while record is not None:
        out.append(Record(*record))
        record = _packetrules.record()
    return out


def rule_log_lost():
    """How many records were lost, as newer ones had no room beside them."""
    return _packetrules.lost()
